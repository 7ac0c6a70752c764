package filemark

import (
	"os"
	"slices"
	"sync"
)

// reading are the files that this process reads from as sources. Files are told
// apart by what they are, not by their path, so links do not fool it.
var reading struct {
	mu    sync.Mutex
	files []*readFile
}

type readFile struct {
	info os.FileInfo
	path string
}

// Reading notes that a file is being read, until done is called.
func Reading(info os.FileInfo, path string) (done func()) {
	f := &readFile{info, path}
	reading.mu.Lock()
	defer reading.mu.Unlock()
	reading.files = append(reading.files, f)
	return func() {
		reading.mu.Lock()
		defer reading.mu.Unlock()
		if i := slices.Index(reading.files, f); i >= 0 {
			reading.files = slices.Delete(reading.files, i, i+1)
		}
	}
}

// BeingRead says whether a file is being read, and by which path.
func BeingRead(info os.FileInfo) (path string, yes bool) {
	reading.mu.Lock()
	defer reading.mu.Unlock()
	for _, f := range reading.files {
		if os.SameFile(f.info, info) {
			return f.path, true
		}
	}
	return "", false
}
