package natsnode

import "github.com/nats-io/nats-server/v2/server/ats"

// KeepClock starts the one goroutine that all servers of the process share,
// and returns the function that ends it. A test that runs a server inside a
// synctest bubble must call it before the bubble begins: otherwise the first
// server would start the goroutine inside the bubble, and its ticker would
// keep virtual time from standing still long enough to end.
func KeepClock() (stop func()) {
	ats.Register()
	return ats.Unregister
}
