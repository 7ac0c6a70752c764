package natsnode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/troupestream/troupe/internal/natsnode/blocks"
)

// A damaged log is given up from where the damage begins when somebody creates
// a file that says so. It is a file, and no option, so that it is done once, for
// one log, by somebody who has read the error: an option would stay in a script.
//
// What is given up is not destroyed: it is kept in given-up/, for who wants to
// look what can be had from it.

func (s *Server) acceptFile(log string) string {
	return filepath.Join(s.dir, "accept-loss-of-"+log)
}

// giveUp makes a log end where its damage begins. It can be interrupted after
// each step: the next start finds the rest of the damage, and the file that says
// what to do with it.
func (s *Server) giveUp(name string, held *blocks.Stream, d *Damaged) error {
	to, err := s.keepFor(name)
	if err != nil {
		return err
	}
	if err := giveUpFiles(held, to); err != nil {
		return fmt.Errorf("give up what is damaged: %w", err)
	}
	left, err := blocks.Check(s.streamDir(name), name)
	if err != nil {
		return err
	}
	floor := left.First
	if floor == 0 {
		floor = left.End() + 1
	}
	w := s.acked.begin(name, 0, 0)
	if w != nil {
		w.set(slotLog, left.End(), floor)
		if err := s.acked.sync(); err != nil {
			return err
		}
	}
	s.accepted(name, to)
	return nil
}

func (s *Server) accepted(name, kept string) {
	err := os.Remove(s.acceptFile(name))
	s.opts.Logger.Warn("the damaged part of a log was given up, as was asked for", "log", name, "kept", kept, "error", err)
}

// keepFor makes a new directory for what is given up of a log.
func (s *Server) keepFor(name string) (string, error) {
	parent := filepath.Join(s.dir, "given-up")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		dir := filepath.Join(parent, fmt.Sprintf("%s-%d", name, n))
		err := os.Mkdir(dir, 0o700)
		if err == nil || !errors.Is(err, os.ErrExist) {
			return dir, err
		}
	}
}

// giveUpFiles takes away the server's index, which knows more than will be left,
// the blocks behind the damaged one, from the last on, and then what is damaged.
func giveUpFiles(held *blocks.Stream, to string) error {
	err := os.Rename(filepath.Join(held.Dir, "index.db"), filepath.Join(to, "index.db"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if held.Damage == nil {
		return nil // something is missing: nothing can be taken away
	}
	for _, index := range slices.Backward(held.Indexes) {
		file := held.File(index)
		if file == held.Damage.File && held.Damage.At > 0 {
			err = cut(file, held.Damage.At, to)
		} else {
			err = os.Rename(file, filepath.Join(to, filepath.Base(file)))
		}
		if err != nil {
			return err
		}
		if file == held.Damage.File {
			break
		}
	}
	return errors.Join(syncPath(held.Dir), syncPath(to))
}

// cut shortens a block to at bytes, and keeps a copy of the whole.
func cut(file string, at int64, to string) error {
	from, err := os.Open(file)
	if err != nil {
		return err
	}
	defer from.Close()
	whole, err := os.OpenFile(filepath.Join(to, filepath.Base(file)), os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(whole, from)
	if err = errors.Join(err, whole.Sync(), whole.Close()); err != nil {
		return err
	}
	if err := os.Truncate(file, at); err != nil {
		return err
	}
	return syncPath(file)
}
