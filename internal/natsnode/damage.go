package natsnode

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"

	"github.com/troupestream/troupe/internal/natsnode/blocks"
)

// Damaged is the error about one log that does not hold what it was given. The
// server never gets to see such a log: it would cut it where the damage begins.
type Damaged struct {
	Log         string
	File        string // what is damaged
	At          int64  // from this byte on
	Why         string // a sentence
	First, Last uint64 // the entries that are whole; First is 0 when there are none
	Acked       uint64 // as far as is known, entries up to here were acknowledged
	Accept      string // path of the file that, when somebody creates it, gives up all others
}

func (d *Damaged) Error() string {
	whole := "no entry is whole"
	if d.First > 0 {
		whole = fmt.Sprintf("entries %d to %d are whole", d.First, d.Last)
	}
	if d.Acked > 0 {
		whole += fmt.Sprintf(", the log was acknowledged up to %d", d.Acked)
	}
	return fmt.Sprintf("%s, at byte %d: %s; %s; nothing was changed. Restore the data directory from a backup, "+
		"or, to lose all other entries for good, create the empty file %s and open the directory again",
		d.File, d.At, d.Why, whole, d.Accept)
}

// inspect finds out which logs are damaged, before the server starts, and keeps
// these from it. It changes no log, unless somebody asked to give up what is
// damaged; see accept.go.
func (s *Server) inspect() error {
	if err := s.bringBack(); err != nil {
		return err
	}
	if err := s.removeHalfCreated(); err != nil {
		return err
	}
	names, err := s.inStreams()
	if err != nil {
		return err
	}
	s.damaged, s.guards = map[string]*Damaged{}, map[string]*Guard{}
	if err := s.inspectLogs(names); err != nil {
		return err
	}
	s.findGone(names)
	s.acked.booted(bootName())
	s.lostSync = false
	return s.putAside()
}

// inspectLogs inspects as many logs at a time as there are processors.
func (s *Server) inspectLogs(names []string) error {
	work, results := make(chan string), make(chan inspected)
	for range min(goruntime.GOMAXPROCS(0), len(names)) {
		go func() {
			for name := range work {
				results <- s.inspectLog(name)
			}
		}()
	}
	go func() {
		for _, name := range names {
			work <- name
		}
		close(work)
	}()
	var failed error
	for range names {
		switch r := <-results; {
		case r.err != nil:
			failed = errors.Join(failed, fmt.Errorf("inspect log %s: %w", r.log, r.err))
		case r.damage != nil:
			s.damaged[r.log] = r.damage
		case r.guard != nil:
			s.guards[r.log] = r.guard
		}
	}
	return failed
}

// inspected is what was found out about a log.
type inspected struct {
	log    string
	damage *Damaged
	guard  *Guard
	err    error
}

func (s *Server) inspectLog(name string) inspected {
	r := inspected{log: name}
	if r.guard, r.err = s.trust(name); r.err != nil {
		return r
	}
	if r.guard != nil {
		r.damage = r.guard.damage()
		return r
	}
	held, d, err := s.judge(name)
	if err == nil && d != nil && exists(d.Accept) {
		if err = s.giveUp(name, held, d); err == nil {
			_, d, err = s.judge(name)
		}
	}
	r.damage, r.err = d, err
	return r
}

// judge holds what a log has against what it should have.
func (s *Server) judge(name string) (*blocks.Stream, *Damaged, error) {
	held, err := blocks.Check(s.streamDir(name), name)
	if err != nil {
		return nil, nil, err
	}
	w := s.acked.find(name)
	last, floor := w.limits()
	if held.Damage == nil && held.End() < last && s.owed(w) == 0 {
		s.opts.Logger.Warn("the machine was restarted: a log that is synced at intervals has lost its end",
			"log", name, "acknowledged", last, "kept", held.End())
		w.set(slotLog, held.End(), floor)
		last = held.End()
	}
	where := held.Damage
	if where == nil {
		where = missing(held, last, floor)
	}
	if where == nil {
		return held, nil, nil
	}
	return held, &Damaged{Log: name, File: where.File, At: where.At, Why: where.Why,
		First: held.First, Last: held.Last, Acked: last, Accept: s.acceptFile(name)}, nil
}

// owed is up to where a log must be there. After a power cut a server that syncs
// at intervals owes nothing that it has not synced, and only it knows what it has.
func (s *Server) owed(w *Witness) uint64 {
	if s.lostSync {
		return 0
	}
	return w.Last()
}

// missing finds what a log whose blocks are sound should have and has not.
func missing(held *blocks.Stream, last, floor uint64) *blocks.Damage {
	switch {
	case held.End() < last:
		return endOf(held)
	case floor == 0: // nothing is known
		return nil
	case held.First > floor:
		return &blocks.Damage{File: held.File(held.Indexes[0]),
			Why: fmt.Sprintf("the log begins with entry %d, and entry %d was never dropped", held.First, floor)}
	case held.First == 0 && floor <= held.Last:
		return endOf(held)
	}
	return nil
}

// endOf is where a log ends that should go on.
func endOf(held *blocks.Stream) *blocks.Damage {
	if held.Torn != nil {
		return held.Torn
	}
	if len(held.Indexes) == 0 {
		return &blocks.Damage{File: held.Dir, Why: "the log has no files"}
	}
	d := &blocks.Damage{File: held.File(held.Indexes[len(held.Indexes)-1]), Why: "the log ends there"}
	if info, err := os.Stat(d.File); err == nil {
		d.At = info.Size()
	}
	return d
}

// findGone finds the logs that should be there and are not.
func (s *Server) findGone(names []string) {
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	for _, w := range s.acked.all() {
		switch {
		case there[w.name]:
		case s.owed(w) == 0:
			if w.Last() > 0 {
				s.opts.Logger.Warn("the machine was restarted: a log that is synced at intervals is gone", "log", w.name, "acknowledged", w.Last())
			}
			s.acked.forget(w.name)
		case exists(s.acceptFile(w.name)):
			s.acked.forget(w.name)
			s.accepted(w.name, "")
		default:
			s.damaged[w.name] = &Damaged{Log: w.name, File: s.streamDir(w.name), Why: "the log does not exist any more",
				Acked: w.Last(), Accept: s.acceptFile(w.name)}
		}
	}
}
