package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/troupestream/troupe/internal/dataflow"
)

// ErrNoSchedule: there is no schedule of that name.
var ErrNoSchedule = errors.New("there is no such schedule")

// CatchUp says what becomes of due times that were missed: nothing ran, or the publish
// did not succeed, for longer than MissedAfter.
type CatchUp uint8

// The ways to catch up. They are stored and never change.
const (
	SkipMissed  CatchUp = iota // nothing: the next due time is the next publish
	PublishOnce                // one publish, for the last of those that were missed
)

// String returns a word.
func (c CatchUp) String() string {
	switch c {
	case SkipMissed:
		return "skip"
	case PublishOnce:
		return "once"
	}
	return "unknown"
}

// Limits of schedules.
const (
	// MissedAfter is how late a publish can be: a due time that is longer past is missed.
	MissedAfter = time.Minute
	// SchedulesMax is how many schedules there can be.
	SchedulesMax    = 10_000
	scheduleNameMax = 128
	scheduleSpecMax = 256
)

// Schedule is a message that is published again and again.
type Schedule struct {
	Name string
	// Spec says when, as cron does: minute, hour, day of month, month, day of week, with
	// a field for seconds in front if there are six; or @hourly, @daily, @weekly,
	// @monthly, @yearly, or "@every 90s". Times are in UTC, unless it begins with
	// "CRON_TZ=Europe/Berlin ", say. Where clocks are put forward, what is due in the
	// hour that is left out is not due that day.
	Spec string
	// Exchange is where the message is published to; "" is the default exchange.
	Exchange string
	// Message is published with a MessageID of its own for each due time (see
	// Schedule.MessageID), and with the due time as its Timestamp.
	Message Message
	// CatchUp says what becomes of due times that were missed. Default SkipMissed.
	CatchUp CatchUp
}

// MessageID is that of the message for a due time: "schedule/", the name, and the time. A
// crash between a publish and the note that it was made repeats the publish, with the same
// id: so an exchange with a Dedup window takes it once, and Once does its work once.
func (s *Schedule) MessageID(due time.Time) string {
	return "schedule/" + s.Name + "/" + due.UTC().Format(time.RFC3339)
}

// timetable says what is due when.
type timetable interface{ Next(time.Time) time.Time }

var cronParser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// parseSpec reads a Spec. The parser panics at a time zone without anything behind it.
func parseSpec(spec string) (t timetable, err error) {
	if len(spec) > scheduleSpecMax {
		return nil, fmt.Errorf("%w: a schedule of %d bytes: it can have %d", ErrInvalid, len(spec), scheduleSpecMax)
	}
	zoned := spec
	if !strings.HasPrefix(spec, "TZ=") && !strings.HasPrefix(spec, "CRON_TZ=") {
		zoned = "CRON_TZ=UTC " + spec
	}
	err = dataflow.Protect(func() error {
		t, err = cronParser.Parse(zoned)
		return err
	})
	if err == nil && t.Next(time.Now()).IsZero() {
		err = errors.New("it is never due")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: schedule %q: %w", ErrInvalid, spec, err)
	}
	return t, nil
}

func (s *Schedule) check() (timetable, error) {
	switch {
	case s.Name == "" || len(s.Name) > scheduleNameMax || strings.ContainsAny(s.Name, "/\x00"):
		return nil, fmt.Errorf("%w: schedule %q: a name has 1 to %d bytes, and no slash", ErrInvalid, s.Name, scheduleNameMax)
	case s.CatchUp > PublishOnce:
		return nil, fmt.Errorf("%w: schedule %s: there is no CatchUp %d", ErrInvalid, s.Name, s.CatchUp)
	}
	return parseSpec(s.Spec)
}

// ScheduleInfo is a schedule, and how it does.
type ScheduleInfo struct {
	Schedule
	Next      time.Time // due time of the next publish
	Last      time.Time // due time of the last publish; zero: there was none
	Published uint64    // messages, since the process has started
	Missed    uint64    // due times for which nothing was published
	Err       error     // of the last publish that failed; nil: the last went well
}

// Schedule publishes a message on a schedule, durably: also after a restart, from when
// the system's schedules are in use again (see Schedules), which in a runtime.Engine is
// when it opens. A schedule of the same name is replaced; if it is the same nothing
// changes. For each due time there is one publish that succeeds, never before that time,
// and late by MissedAfter at most.
func (s *System) Schedule(ctx context.Context, schedule Schedule) error {
	if _, err := schedule.check(); err != nil {
		return err
	}
	schedule.Message.Timestamp = time.Time{} // it is the due time, each time
	return s.tellSchedules(ctx, putSchedule{schedule})
}

// DeleteSchedule ends a schedule. The error is an ErrNoSchedule if there is none.
func (s *System) DeleteSchedule(ctx context.Context, name string) error {
	return s.tellSchedules(ctx, dropSchedule{name})
}

// Schedules lists the schedules by name, and sees to it that they are carried out in this
// process: one that uses schedules calls it, or Schedule, when it starts.
func (s *System) Schedules(ctx context.Context) ([]ScheduleInfo, error) {
	pid, err := s.schedules.actor(s)
	if err != nil {
		return nil, err
	}
	return Ask[[]ScheduleInfo](ctx, s, pid, askSchedules{})
}

func (s *System) tellSchedules(ctx context.Context, message any) error {
	pid, err := s.schedules.actor(s)
	if err != nil {
		return err
	}
	_, err = Ask[scheduleDone](ctx, s, pid, message)
	return err
}
