package natsnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Damage returns what is the matter with a log, nil when nothing is known to be.
func (s *Server) Damage(log string) *Damaged {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damaged[log]
}

// Witness returns the witness of a log. If there is none yet, the log is taken
// to be what it should be: acknowledged up to last, trimmed up to floor.
func (s *Server) Witness(log string, last, floor uint64) *Witness {
	return s.acked.begin(log, last, floor)
}

// Deleting says that a log is about to be deleted; Deleted, that it was.
func (s *Server) Deleting(log string) error {
	if w := s.acked.find(log); w != nil {
		return w.deleting()
	}
	return nil
}

// Deleted says that a log is gone.
func (s *Server) Deleted(log string) { s.acked.forget(log) }

// asideDir is where damaged logs are while a server runs that must not see them.
func (s *Server) asideDir() string { return filepath.Join(s.dir, "aside") }

// putAside moves the damaged logs out of the server's sight.
func (s *Server) putAside() error {
	for name := range s.damaged {
		from := s.streamDir(name)
		if !exists(from) {
			continue
		}
		if err := os.MkdirAll(s.asideDir(), 0o700); err != nil {
			return err
		}
		if err := s.move(from, filepath.Join(s.asideDir(), name)); err != nil {
			return err
		}
	}
	return nil
}

// bringBack moves them to where they belong, whoever put them aside.
func (s *Server) bringBack() error {
	entries, err := os.ReadDir(s.asideDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(s.asideDir(), e.Name()), s.streamDir(e.Name())
		if exists(to) {
			return fmt.Errorf("there are two of log %s: remove %s if %s was restored from a backup", e.Name(), from, to)
		}
		if err := s.move(from, to); err != nil {
			return err
		}
	}
	return os.Remove(s.asideDir())
}

func (s *Server) move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(syncPath(filepath.Dir(from)), syncPath(filepath.Dir(to)))
}
