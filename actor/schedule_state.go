package actor

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// scheduleState is which schedules there are, and what was published for them. It is
// changed by entries of its journal alone.
type scheduleState map[string]*scheduleEntry

// scheduleEntry is one of them. Times are Unix ms.
type scheduleEntry struct {
	Schedule Schedule `json:"schedule"`
	Last     int64    `json:"last"`          // due times up to it are dealt with
	Due      int64    `json:"due,omitempty"` // is being published; 0: nothing is
	Done     int64    `json:"done,omitempty"`
	Missed   uint64   `json:"missed,omitempty"`

	table timetable
}

// scheduleOp is an entry of the journal. One of its fields is set.
type scheduleOp struct {
	Put     *Schedule `json:"put,omitempty"` // due times from At on count
	Drop    string    `json:"drop,omitempty"`
	Begin   string    `json:"begin,omitempty"` // the publish for the due time At
	Publish string    `json:"publish,omitempty"`
	Miss    string    `json:"miss,omitempty"` // due times up to At, N of them
	At      int64     `json:"at,omitempty"`
	N       uint64    `json:"n,omitempty"`
}

func (s *scheduleState) restore(snapshot []byte) error {
	*s = scheduleState{}
	if snapshot == nil {
		return nil
	}
	var all []*scheduleEntry
	if err := json.Unmarshal(snapshot, &all); err != nil {
		return fmt.Errorf("%w: schedules: %w", ErrCorrupt, err)
	}
	for _, e := range all {
		if err := s.put(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *scheduleState) snapshot() []byte {
	all := make([]*scheduleEntry, 0, len(*s))
	for _, name := range slices.Sorted(maps.Keys(*s)) {
		all = append(all, (*s)[name])
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(err) // texts, numbers and times
	}
	return b
}

func (s *scheduleState) replay(entry []byte) error {
	var op scheduleOp
	if err := json.Unmarshal(entry, &op); err != nil {
		return fmt.Errorf("%w: schedules: %w", ErrCorrupt, err)
	}
	return s.apply(op)
}

func (s *scheduleState) put(e *scheduleEntry) (err error) {
	if e.table, err = e.Schedule.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	(*s)[e.Schedule.Name] = e
	return nil
}

// apply makes a change that is durable. What is about a schedule that is gone changes
// nothing.
func (s *scheduleState) apply(op scheduleOp) error {
	if op.Put != nil {
		return s.put(&scheduleEntry{Schedule: *op.Put, Last: op.At})
	}
	if op.Drop != "" {
		delete(*s, op.Drop)
		return nil
	}
	if e := (*s)[op.Begin]; e != nil {
		e.Due = op.At
	}
	if e := (*s)[op.Publish]; e != nil {
		e.Last, e.Done, e.Due = op.At, op.At, 0
	}
	if e := (*s)[op.Miss]; e != nil {
		e.Last, e.Due = op.At, 0
		e.Missed += op.N
	}
	return nil
}

// same says whether a schedule is the one that there is.
func (s scheduleState) same(n *Schedule) bool {
	e := s[n.Name]
	return e != nil && reflect.DeepEqual(&e.Schedule, n)
}

// next is the first due time that is not dealt with. It is not zero: check sees to that,
// and cron looks years ahead.
func (e *scheduleEntry) next() time.Time { return e.table.Next(time.UnixMilli(e.Last)) }

// decide says what is to be done about a schedule now: nothing before wake, or op.
func (e *scheduleEntry) decide(now time.Time) (op *scheduleOp, wake time.Time) {
	name := e.Schedule.Name
	if e.Due != 0 {
		return nil, now // it is under way
	}
	next := e.next()
	switch {
	case next.IsZero():
		return nil, now.Add(24 * time.Hour)
	case next.After(now):
		return nil, next
	case now.Sub(next) <= MissedAfter:
		return &scheduleOp{Begin: name, At: next.UnixMilli()}, now
	}
	last, n := e.missed(next, now)
	if e.Schedule.CatchUp == PublishOnce {
		return &scheduleOp{Begin: name, At: last.UnixMilli()}, now
	}
	return &scheduleOp{Miss: name, At: last.UnixMilli(), N: n}, now
}

// missedCounted is how many missed due times are counted; if there are more, that many
// are said to be missed.
const missedCounted = 10_000

// missed returns the last due time that is missed, of which first is one, and how many
// there are.
func (e *scheduleEntry) missed(first, now time.Time) (last time.Time, n uint64) {
	limit := now.Add(-MissedAfter)
	last, n = first, 1
	for next := e.table.Next(last); !next.IsZero() && next.Before(limit); next = e.table.Next(last) {
		last = next
		if n++; n == missedCounted {
			return e.lastBefore(limit), n
		}
	}
	return last, n
}

// lastBefore returns the last due time before a time, of a schedule that is due often.
func (e *scheduleEntry) lastBefore(limit time.Time) (last time.Time) {
	for span := time.Second; ; span *= 2 {
		last = e.table.Next(limit.Add(-span))
		if last.Before(limit) {
			break
		}
	}
	for next := e.table.Next(last); next.Before(limit); next = e.table.Next(last) {
		last = next
	}
	return last
}
