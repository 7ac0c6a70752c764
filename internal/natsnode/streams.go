package natsnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The server describes a stream by two files in its directory. It writes one
// after the other, and at start passes over a stream that lacks either. A
// process that was killed between the two would so leave a stream that is not
// there when the server starts, and that creating anew brings back, for as long
// as this process runs.

// streamsDir is where the server keeps the streams of the global account.
func (s *Server) streamsDir() string {
	return filepath.Join(s.dir, "jetstream", "$G", "streams")
}

func (s *Server) streamDir(name string) string { return filepath.Join(s.streamsDir(), name) }

// OnDisk returns the names of the logs that are there, or should be, whether the
// server could load them or not.
func (s *Server) OnDisk() ([]string, error) {
	names, err := s.inStreams()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.damaged {
		names = append(names, name)
	}
	return names, err
}

// inStreams returns the names of the streams that have a directory.
func (s *Server) inStreams() ([]string, error) {
	entries, err := os.ReadDir(s.streamsDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the streams of %s: %w", s.dir, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") { // a dot: it is being deleted
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// removeHalfCreated removes the streams whose creation, or deletion, did not
// come to its end. Nothing was ever acknowledged in the former. One that holds
// data is left: it is damaged, and OnDisk shows it.
func (s *Server) removeHalfCreated() error {
	names, err := s.inStreams()
	for _, name := range names {
		dir, w := s.streamDir(name), s.acked.find(name)
		if exists(filepath.Join(dir, "meta.inf")) && exists(filepath.Join(dir, "meta.sum")) {
			continue
		}
		if w != nil && w.isDeleting() || s.owed(w) == 0 && !holdsData(dir) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}

// holdsData reports whether a block of messages is there that is not empty. In
// doubt it says yes.
func holdsData(dir string) bool {
	blocks, err := os.ReadDir(filepath.Join(dir, "msgs"))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	for _, b := range blocks {
		info, err := b.Info()
		if err != nil || info.Size() > 0 && strings.HasSuffix(b.Name(), ".blk") {
			return true
		}
	}
	return err != nil
}
