package runtimetest

import (
	"os"
	"sync"
	"testing"
)

const dirVariable = "TROUPE_TEST_DIR"

// dirs are the directories of running tests: all calls of Dir return the same.
var dirs sync.Map

// Dir returns a directory of the test, which KillLoop and the processes that it
// starts have in common. It is removed when the test ends.
func Dir(t *testing.T) string {
	t.Helper()
	if _, inChild := lifeOf(t.Name()); inChild {
		return os.Getenv(dirVariable)
	}
	if dir, ok := dirs.Load(t.Name()); ok {
		return dir.(string)
	}
	dir := t.TempDir()
	dirs.Store(t.Name(), dir)
	t.Cleanup(func() { dirs.Delete(t.Name()) })
	return dir
}
