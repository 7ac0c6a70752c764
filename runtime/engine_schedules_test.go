package runtime_test

import (
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
)

// A schedule goes on with the engine, though nobody asks for schedules.
func TestSchedulesGoOnWithTheEngine(t *testing.T) {
	dir := t.TempDir()
	e := openFaults(t, dir)
	sys := e.System()
	if _, err := sys.DeclareQueue(t.Context(), "jobs", actor.QueueConfig{}); err != nil {
		t.Fatal(err)
	}
	every := actor.Schedule{Name: "tick", Spec: "* * * * * *", Message: actor.Message{RoutingKey: "jobs", Body: []byte("tick")}}
	if err := sys.Schedule(t.Context(), every); err != nil {
		t.Fatal(err)
	}
	closeEngine(t, e)

	e = openFaults(t, dir)
	defer closeEngine(t, e)
	opened := time.Now()
	q, err := e.System().Queue(t.Context(), "jobs")
	if err != nil {
		t.Fatal(err)
	}
	for due := (time.Time{}); !due.After(opened); {
		got, err := q.Get(t.Context(), 1, time.Minute)
		if err != nil || len(got) == 0 {
			t.Fatalf("nothing is published any more: %v", err)
		}
		due = got[0].Message().Timestamp
		if err := got[0].Ack(); err != nil {
			t.Fatal(err)
		}
	}
}
