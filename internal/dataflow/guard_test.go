package dataflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// fragile is a loop over records, each of which panics as often as it is told,
// and which fills batches of four.
type fragile struct {
	panics []int // left, by record
	at     int
	half   bool // a record is half done, and must be undone
	out    []int
	sent   []int
	undone int
}

func (f *fragile) Run(from int) int {
	for f.at = from; f.at < len(f.panics); f.at++ {
		f.half = true
		if f.panics[f.at] > 0 {
			f.panics[f.at]--
			panic(fmt.Sprintf("record %d", f.at))
		}
		f.half = false
		if f.out = append(f.out, f.at); len(f.out) == 4 {
			return f.at + 1
		}
	}
	return len(f.panics)
}

func (f *fragile) At() int { return f.at }
func (f *fragile) Undo()   { f.half = false; f.undone++ }

func (f *fragile) Flush() error {
	if f.half {
		return errors.New("flushed a record that is half done")
	}
	f.sent, f.out = append(f.sent, f.out...), nil
	return nil
}

func (f *fragile) Subject(i int) Subject { return Subject{Value: i} }

func (f *fragile) Encode(i int) DeadLetter { return DeadLetter{Value: fmt.Append(nil, i)} }

func TestGuardHandlesEveryRecordOnceOrPutsItAside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &fragile{panics: rapid.SliceOfN(rapid.IntRange(0, 4), 0, 20).Draw(t, "panics")}
		attempts := rapid.IntRange(1, 4).Draw(t, "attempts")
		var want, wantLetters []int
		failures := 0
		for i, p := range f.panics {
			if p >= attempts {
				wantLetters = append(wantLetters, i)
			} else {
				want = append(want, i)
			}
			failures += min(p, attempts)
		}
		var letters []int
		env := testEnv()
		env.DeadLetter = func(d DeadLetter) error {
			i := 0
			if _, err := fmt.Sscan(string(d.Value), &i); err != nil {
				t.Fatal(err)
			}
			letters = append(letters, i)
			if d.Topic != "bad" || d.Node != "op" || d.Attempts != attempts || d.Error != fmt.Sprintf("record %d", i) || !strings.Contains(d.Stack, "fragile") {
				t.Fatalf("letter %+v", d)
			}
			return nil
		}
		g := NewGuard(env, Policy{Attempts: attempts, Then: ToTopic, Topic: "bad"})
		if err := g.Each(len(f.panics), f); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(f.sent, want) || !slices.Equal(letters, wantLetters) {
			t.Fatalf("sent %v, letters %v, want %v and %v", f.sent, letters, want, wantLetters)
		}
		if got := env.Metrics.Failures.Load(); got != int64(failures) || f.undone != failures {
			t.Fatalf("%d failures counted, %d undone, want %d", got, f.undone, failures)
		}
	})
}

func TestGuardSkipsOrFails(t *testing.T) {
	env := testEnv()
	f := &fragile{panics: []int{0, 9, 0}}
	if err := NewGuard(env, Policy{Attempts: 2, Then: SkipRecord}).Each(3, f); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.sent, []int{0, 2}) || env.Metrics.Skipped.Load() != 1 {
		t.Errorf("sent %v, skipped %d", f.sent, env.Metrics.Skipped.Load())
	}
	err := NewGuard(env, Policy{Attempts: 2}).Each(3, &fragile{panics: []int{0, 9, 0}})
	var failure *Failure
	if !errors.As(err, &failure) || failure.Attempts != 2 || failure.Cause != "record 1" || failure.Stack == "" {
		t.Errorf("failed with %#v", err)
	}
}

func TestGuardBacksOff(t *testing.T) {
	env := testEnv()
	var waits []time.Duration
	env.Sleep = func(d time.Duration) error { waits = append(waits, d); return nil }
	p := Policy{Attempts: 6, Backoff: 10 * time.Millisecond, BackoffMax: 40 * time.Millisecond, Then: SkipRecord}
	if err := NewGuard(env, p).Each(1, &fragile{panics: []int{9}}); err != nil {
		t.Fatal(err)
	}
	for i, limit := range []time.Duration{10, 20, 40, 40, 40} {
		if limit *= time.Millisecond; waits[i] < limit/2 || waits[i] > limit {
			t.Errorf("wait %d is %v, want %v to %v", i, waits[i], limit/2, limit)
		}
	}
	if len(waits) != 5 {
		t.Errorf("%d waits", len(waits))
	}
}

func TestGuardStopsWaitingWithItsTask(t *testing.T) {
	env := testEnv()
	ctx, cancel := context.WithCancel(context.Background())
	env.Context, env.Sleep = ctx, nil
	cancel()
	err := NewGuard(env, Policy{Attempts: 2, Backoff: time.Hour, BackoffMax: time.Hour}).Each(1, &fragile{panics: []int{9}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// cursed cannot even be encoded.
type cursed struct{ fragile }

func (c *cursed) Encode(int) DeadLetter { panic("no bytes") }

func TestGuardSurvivesAnEncodingThatPanics(t *testing.T) {
	env := testEnv()
	var letter DeadLetter
	env.DeadLetter = func(d DeadLetter) error { letter = d; return nil }
	c := &cursed{fragile{panics: []int{9, 0}}}
	if err := NewGuard(env, Policy{Attempts: 1, Then: ToTopic, Topic: "bad"}).Each(2, c); err != nil {
		t.Fatal(err)
	}
	if letter.Topic != "bad" || !strings.Contains(letter.Error, "record 0") || !strings.Contains(letter.Error, "no bytes") {
		t.Errorf("letter %+v", letter)
	}
}

func TestGuardReportsALetterThatCannotBeStored(t *testing.T) {
	env := testEnv()
	full := errors.New("disk full")
	env.DeadLetter = func(DeadLetter) error { return full }
	err := NewGuard(env, Policy{Attempts: 1, Then: ToTopic}).Each(1, &fragile{panics: []int{9}})
	if !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

// described is a loop over one record that nothing can be done with.
type described struct {
	fragile
	subject func() Subject
}

func (d *described) Run(int) int         { panic("boom") }
func (d *described) Subject(int) Subject { return d.subject() }

type loud struct{}

func (loud) String() string { panic("it cannot be shown") }

// What fails a job says on which record, and what to do.
func TestAFailureNamesItsRecord(t *testing.T) {
	long := strings.Repeat("é", 1000)
	for want, subject := range map[string]func() Subject{
		`operator "op" failed 3 times on one record ("b", key 7, from in.txt): boom; give the operator another error policy (OnError) to pass over such records`: func() Subject {
			return Subject{Value: "b", Key: 7, Origin: "in.txt"}
		},
		`record ({A:1 B:two lines}, from o): boom`: func() Subject {
			return Subject{Value: struct {
				A int
				B string
			}{1, "two\nlines"}, Origin: "o"}
		},
		`record ("` + long[:2*subjectRunes] + `"): boom`:              func() Subject { return Subject{Value: long} },
		`record ([` + long[:2*(subjectRunes-1)] + `…, key "k"): boom`: func() Subject { return Subject{Value: []any{long}, Key: "k"} },
		`cannot be shown`:        func() Subject { return Subject{Value: loud{}} },
		`on one record: boom; g`: func() Subject { panic("so it goes") },
	} {
		d := &described{subject: subject}
		env := &Env{Context: t.Context(), Node: "op", Metrics: new(Metrics), Sleep: func(time.Duration) error { return nil }}
		err := NewGuard(env, DefaultPolicy()).Each(1, d)
		if err == nil || !strings.Contains(err.Error(), want) || !utf8.ValidString(err.Error()) {
			t.Errorf("%v\ndoes not say %s", err, want)
		}
	}
}
