package natsnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Format is the version of the directory's layout that this release writes. It
// opens this and all earlier ones.
const Format = 1

// ErrFormat: the directory was written by a newer release.
var ErrFormat = errors.New("the data directory has a newer format")

// ErrLocked: another process uses the directory.
var ErrLocked = errors.New("the data directory is in use")

const markerName = "troupe.json"

type marker struct {
	Format int `json:"format"`
}

// prepareDir creates, locks and checks the directory.
func prepareDir(dir string) (lock *dirLock, err error) {
	if err := createDir(dir); err != nil {
		return nil, err
	}
	if lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if err := checkFormat(dir); err != nil {
		return nil, errors.Join(err, lock.release())
	}
	return lock, nil
}

// createDir makes the directory, and the parents that are missing, for its owner
// only: records are nobody else's. What is there already is left as it is. Two
// processes may come here at once: the lock, which is taken behind it, decides.
func createDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("open data directory %s: it is not a directory: name one, or a place where one can be made", dir)
	case err == nil:
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create data directory %s: %w; name a place where one can be made", dir, err)
	}
	return nil
}

func checkFormat(dir string) error {
	path := filepath.Join(dir, markerName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeMarker(path)
	}
	if err != nil {
		return fmt.Errorf("read the format of data directory %s: %w", dir, err)
	}
	var m marker
	if err := json.Unmarshal(b, &m); err != nil || m.Format < 1 {
		return fmt.Errorf("%s does not say the format of the directory (it should be {\"format\":%d}): restore it from a backup", path, Format)
	}
	if m.Format > Format {
		return fmt.Errorf("%w: %s has format %d, this release knows up to %d; use a newer release", ErrFormat, dir, m.Format, Format)
	}
	return nil
}

func writeMarker(path string) error {
	b, err := json.Marshal(marker{Format})
	if err != nil {
		return err
	}
	if err := replaceFile(path, append(b, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// replaceFile writes a file in one step, so that a crash leaves either what was
// there or all of the new one.
func replaceFile(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := writeSynced(tmp, b); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncPath syncs a file or a directory.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
