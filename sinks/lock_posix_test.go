//go:build linux || darwin

package sinks

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/troupestream/troupe/topology"
)

// A lock belongs to an open file: another one of this process stands for another process.
func TestAFileThatAnotherProcessWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	other, err := os.Create(path)
	if err == nil {
		err = syscall.Flock(int(other.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.WriteString("its record\n"); err != nil {
		t.Fatal(err)
	}
	open := topology.SinkOpen{Job: "job", Sink: "out", Tasks: 1}
	if _, err := Lines(path).Open(t.Context(), open); err == nil || !strings.Contains(err.Error(), path+" is being written by another process") {
		t.Errorf("it opens: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "its record\n" {
		t.Errorf("it holds %q, %v", b, err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // another start of the same sink takes over from one that has failed
		w, err := Lines(path).Open(t.Context(), open)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
	}
}
