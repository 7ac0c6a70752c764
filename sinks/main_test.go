package sinks

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// children are the processes that tests start, by name.
var children = map[string]func(){}

// TestMain is also the way into the processes that tests start and kill.
func TestMain(m *testing.M) {
	if child := children[os.Getenv("TROUPE_SINKS_CHILD")]; child != nil {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}
