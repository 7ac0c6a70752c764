package natsnode

import (
	"os"
	"strings"
)

// bootName tells one run of the machine from another; "" when it is not known.
func bootName() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
