package snapshots

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/troupestream/troupe/internal/checkpoint"
	"github.com/troupestream/troupe/internal/storage"
)

// A savepoint lies in a log of its own: the chunks with all its state, and a
// manifest. It needs nothing of the job's logs, and holds nothing there. There is
// a savepoint once there is its manifest; one of a name that is taken again is
// replaced at that moment.

// ErrNoSavepoint: the job has no savepoint of that name.
var ErrNoSavepoint = errors.New("no such savepoint")

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// CheckName says why something cannot be the name of a savepoint.
func CheckName(name string) error {
	if nameRule.MatchString(name) {
		return nil
	}
	shown := fmt.Sprintf("%q", name)
	if len(name) > 80 {
		shown = fmt.Sprintf("%.80q… (%d bytes)", name, len(name))
	}
	return fmt.Errorf("savepoint %s: a name is 1 to 63 lower-case letters, digits and dashes, a letter first", shown)
}

func savepointsOf(job string) string { return "savepoint_" + job + "_" }

// savepoint is the log of one.
type savepoint struct {
	chunkLog
	job, name string
}

// openSavepoint opens the log of a savepoint. The caller has checked the name.
func openSavepoint(ctx context.Context, s storage.Store, job, name string, m func() mark) (*savepoint, error) {
	p := &savepoint{job: job, name: name}
	if err := p.open(ctx, s, savepointsOf(job)+name, m); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// Save copies a checkpoint into a savepoint. The chunks that m refers to must stay
// until it returns. What it returns describes the savepoint.
func (s *Store) Save(ctx context.Context, m *checkpoint.Manifest, name string) (*checkpoint.Manifest, error) {
	saved, err := s.save(ctx, m, name)
	if err != nil {
		return nil, fmt.Errorf("savepoint %q of job %q: %w", name, s.job, err)
	}
	return saved, nil
}

func (s *Store) save(ctx context.Context, m *checkpoint.Manifest, name string) (_ *checkpoint.Manifest, err error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	p, err := openSavepoint(ctx, s.store, s.job, name, s.mark)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err = errors.Join(err, p.close()); err != nil {
			err = errors.Join(err, s.giveUp(ctx, name))
		}
	}()
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	before := p.last
	defer s.ReleaseCache()
	saved, err := copyState(ctx, m, &s.chunks, &p.chunkLog)
	if err != nil {
		return nil, err
	}
	saved.Savepoint, saved.Retained = name, nil
	if _, err := writeManifest(ctx, &p.writer, saved); err != nil {
		return nil, err
	}
	return saved, p.log.Trim(ctx, before)
}

// giveUp removes what an attempt at a savepoint has left, unless there is an older
// one of that name.
func (s *Store) giveUp(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return s.sweepSavepoint(ctx, savepointsOf(s.job)+name)
}

// sweepSavepoints removes what a process that died has left of savepoints.
func (s *Store) sweepSavepoints(ctx context.Context) error {
	names, err := s.store.Logs(ctx, savepointsOf(s.job))
	for _, name := range names {
		err = cmp.Or(err, s.sweepSavepoint(ctx, name))
	}
	return err
}

func (s *Store) sweepSavepoint(ctx context.Context, name string) error {
	log, err := s.store.OpenLog(ctx, name, storage.LogOptions{})
	if err != nil {
		return err
	}
	_, err = log.Last(ctx, storage.State)
	if err := errors.Join(ignoring(err, storage.ErrNotFound, storage.ErrCorrupt), log.Close()); err != nil {
		return err
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return ignoring(s.store.DeleteLog(ctx, name), storage.ErrNotFound)
}

func ignoring(err error, these ...error) error {
	if slices.ContainsFunc(these, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

// Import copies the state of a savepoint to the job's, and returns a manifest that
// refers to it there. Nothing of the savepoint is needed from then on.
func (s *Store) Import(ctx context.Context, name string) (*checkpoint.Manifest, error) {
	m, err := s.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("savepoint %q of job %q: %w", name, s.job, err)
	}
	return m, nil
}

func (s *Store) load(ctx context.Context, name string) (*checkpoint.Manifest, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if err := exists(ctx, s.store, savepointsOf(s.job)+name); err != nil {
		return nil, err
	}
	p, err := openSavepoint(ctx, s.store, s.job, name, s.mark)
	if err != nil {
		return nil, err
	}
	defer p.close()
	e, err := p.log.Last(ctx, storage.State)
	if err != nil {
		return nil, err
	}
	m, _, err := readManifest(ctx, p.log, e, s.job)
	if err != nil {
		return nil, err
	}
	return copyState(ctx, m, &p.chunkLog, &s.chunks)
}

// exists says whether there is a log; to open it would be to make one.
func exists(ctx context.Context, s storage.Store, name string) error {
	names, err := s.Logs(ctx, name)
	if err == nil && !slices.Contains(names, name) {
		err = ErrNoSavepoint
	}
	return err
}

// Savepoints describes the savepoints of a job, without their bulk, sorted by
// name. Those that cannot be read are left out, and the error says why.
func Savepoints(ctx context.Context, s storage.Store, job string) ([]*checkpoint.Manifest, error) {
	logs, err := s.Logs(ctx, savepointsOf(job))
	var all []*checkpoint.Manifest
	for _, name := range logs {
		m, failed := describe(ctx, s, name)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("savepoint %q of job %q: %w", strings.TrimPrefix(name, savepointsOf(job)), job, failed))
		}
		if m != nil {
			all = append(all, m)
		}
	}
	return all, err
}

// describe reads what a savepoint is; nil when it is not complete.
func describe(ctx context.Context, s storage.Store, name string) (*checkpoint.Manifest, error) {
	log, err := s.OpenLog(ctx, name, storage.LogOptions{})
	if err != nil {
		return nil, err
	}
	defer log.Close()
	e, err := log.Last(ctx, storage.State)
	if err != nil {
		return nil, ignoring(err, storage.ErrNotFound)
	}
	head, err := decodeHead(e.Data)
	if err != nil {
		return nil, err
	}
	return &head.Manifest, nil
}

// DeleteSavepoint deletes a savepoint, or what there is of one. The error may be
// an ErrNoSavepoint.
func DeleteSavepoint(ctx context.Context, s storage.Store, job, name string) error {
	err := CheckName(name)
	if err == nil {
		err = s.DeleteLog(ctx, savepointsOf(job)+name)
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = ErrNoSavepoint
	}
	if err != nil {
		return fmt.Errorf("savepoint %q of job %q: %w", name, job, err)
	}
	return nil
}
