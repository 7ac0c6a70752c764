// Package connectortest is what the suites of sources and sinks share.
package connectortest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/internal/dataflow"
)

// Patience is how long anything may take that should not take long.
const Patience = 30 * time.Second

// Deadline is a context that ends with the test, or when patience does.
func Deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// LeaksNothing requires that use, called over and over, leaves no goroutine and
// no open file behind. What the first call keeps for good is not a leak, nor are
// goroutines in the functions that pooled names.
func LeaksNothing(t *testing.T, pooled []string, use func()) {
	t.Helper()
	use()
	ignored, files := []goleak.Option{goleak.IgnoreCurrent()}, openFiles()
	for _, f := range pooled {
		ignored = append(ignored, goleak.IgnoreAnyFunction(f))
	}
	for range 5 {
		use()
	}
	if err := goleak.Find(ignored...); err != nil {
		t.Error(err)
	}
	if now := openFiles(); now > files {
		t.Errorf("%d files are open, %d were before", now, files)
	}
}

// openFiles counts the file descriptors of the process, where that is possible.
func openFiles() int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(fds)
}

// Poison requires that err is about one record and says what is wrong with it;
// panicked: and with the stack of a panic, or else without.
func Poison(t *testing.T, err error, panicked bool) *dataflow.RecordError {
	t.Helper()
	var poison *dataflow.RecordError
	switch {
	case !errors.As(err, &poison):
		t.Fatalf("poison is reported as %v, want a *RecordError", err)
	case poison.Err == nil:
		t.Errorf("the error does not say why: %+v", poison)
	case panicked && poison.Stack == "":
		t.Errorf("user code has panicked, and the error has no stack: %v", poison)
	case !panicked && poison.Stack != "":
		t.Errorf("the error has a stack, as if user code had panicked: %v\n%s", poison, poison.Stack)
	}
	return poison
}
