//go:build !linux

package natsnode

// bootName tells one run of the machine from another; "": it is not known.
func bootName() string { return "" }
