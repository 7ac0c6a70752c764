package dataflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// shaky is a writer whose user code panics on some records so many times, and
// which refuses others.
type shaky struct {
	SinkWriter
	panics  map[int]int // by record: how often its encoding still panics
	refuses map[int]bool
	taken   []int
}

func (f *shaky) Write(_ context.Context, batch any) error {
	for i, v := range batch.(*Batch[int]).Values {
		if f.panics[v] > 0 {
			f.panics[v]--
			err := Protect(func() error { panic(fmt.Sprint(v, " is fragile")) })
			return &RecordError{Index: i, Err: err, Stack: StackOf(err)}
		}
		if f.refuses[v] {
			return &RecordError{Index: i, Err: errors.New("refused")}
		}
		f.taken = append(f.taken, v)
	}
	return nil
}

func (f *shaky) Encode(batch any, i int) []byte {
	return fmt.Append(nil, batch.(*Batch[int]).Values[i])
}

// A record whose user code panics is tried as often as the policy says; one that
// is refused is not tried again. Neither order nor any other record suffers.
func TestWriteBatchTriesPanicsAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "records")
		attempts := rapid.IntRange(1, 4).Draw(t, "attempts")
		w := &shaky{panics: map[int]int{}, refuses: map[int]bool{}}
		b, want, letters := &Batch[int]{}, []int{}, map[string]DeadLetter{}
		for v := range n {
			b.Values = append(b.Values, v)
			k := rapid.IntRange(0, 5).Draw(t, "panics")
			w.panics[v], w.refuses[v] = k, rapid.Bool().Draw(t, "refused")
			switch {
			case k >= attempts:
				letters[fmt.Sprint(v)] = DeadLetter{Attempts: attempts, Stack: "some"}
			case w.refuses[v]:
				letters[fmt.Sprint(v)] = DeadLetter{Attempts: k + 1}
			default:
				want = append(want, v)
			}
		}
		env := testEnv()
		b.Origin = 1
		env.DeadLetter = func(d DeadLetter) error {
			expected, ok := letters[string(d.Value)]
			delete(letters, string(d.Value))
			if !ok || d.Attempts != expected.Attempts || (d.Stack == "") != (expected.Stack == "") || d.Origin != "o1" || d.Node != "op" {
				t.Fatalf("letter %+v, want %+v", d, expected)
			}
			return nil
		}
		p := Policy{Attempts: attempts, Backoff: time.Second, BackoffMax: time.Minute, Then: ToTopic, Topic: "bad"}
		if err := WriteBatch(env, p, NewStreamLink[int](), w, b); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(w.taken, want) || len(letters) != 0 || len(b.Values) != n {
			t.Fatalf("taken %v, want %v; letters that did not come: %v", w.taken, want, letters)
		}
	})
}

func TestWriteBatchWaitsBetweenTries(t *testing.T) {
	env, w := testEnv(), &shaky{panics: map[int]int{2: 3}}
	var waits []time.Duration
	env.Sleep = func(d time.Duration) error { waits = append(waits, d); return nil }
	p := Policy{Attempts: 4, Backoff: 100 * time.Millisecond, BackoffMax: 300 * time.Millisecond}
	if err := WriteBatch(env, p, NewStreamLink[int](), w, &Batch[int]{Values: []int{1, 2, 3}}); err != nil {
		t.Fatal(err)
	}
	if len(waits) != 3 || !slices.Equal(w.taken, []int{1, 2, 3}) || env.Metrics.Failures.Load() != 3 {
		t.Fatalf("waits %v, taken %v", waits, w.taken)
	}
	for i, most := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond} {
		if waits[i] < most/2 || waits[i] > most {
			t.Errorf("wait %d is %v, want %v to %v", i, waits[i], most/2, most)
		}
	}
	stopped := errors.New("stopped")
	env.Sleep = func(time.Duration) error { return stopped }
	if err := WriteBatch(env, p, NewStreamLink[int](), &shaky{panics: map[int]int{1: 1}}, &Batch[int]{Values: []int{1}}); !errors.Is(err, stopped) {
		t.Errorf("err = %v", err)
	}
}

// brittle panics outside of any record, or names one that there is not, or
// cannot even render its records.
type brittle struct {
	SinkWriter
	index int
}

func (w brittle) Write(context.Context, any) error {
	if w.index == 0 {
		panic("it fell apart")
	}
	return &RecordError{Index: w.index, Err: errors.New("refused")}
}

func (brittle) Encode(any, int) []byte { panic("and this, too") }

func TestWriteBatchNamesTheSink(t *testing.T) {
	for index, want := range map[int]string{
		0:  `sink "op": user code panicked: it fell apart`,
		-1: `sink "op": its writer has refused record -1 of a batch, which there is not: refused`,
	} {
		err := WriteBatch(testEnv(), Policy{Attempts: 3, Then: SkipRecord}, NewStreamLink[int](), brittle{index: index}, &Batch[int]{Values: []int{1, 2}})
		if err == nil || err.Error() != want {
			t.Errorf("err = %v, want %s", err, want)
		}
		if panicked := index == 0; strings.Contains(StackOf(err), "brittle") != panicked {
			t.Errorf("the stack of %v is %q", err, StackOf(err))
		}
	}
	err := WriteBatch(testEnv(), Policy{}, NewStreamLink[int](), &shaky{panics: map[int]int{7: 9}}, &Batch[int]{Values: []int{6, 7}})
	want := `sink "op" cannot write a record ("7", from o0): user code panicked: 7 is fragile; give the sink another error policy (OnError) to pass over such records`
	if err == nil || err.Error() != want {
		t.Errorf("err = %v, want %s", err, want)
	}
}

func TestALetterWithoutItsRecordIsBetterThanNone(t *testing.T) {
	env := testEnv()
	var letter DeadLetter
	env.DeadLetter = func(d DeadLetter) error { letter = d; return nil }
	if err := WriteBatch(env, Policy{Then: ToTopic, Topic: "bad"}, NewStreamLink[int](), &once{}, &Batch[int]{Values: []int{1, 2}}); err != nil {
		t.Fatal(err)
	}
	if letter.Value != nil || letter.Node != "op" || letter.Attempts != 1 ||
		letter.Error != "refused (and its encoding panicked: and this, too)" {
		t.Errorf("letter %+v", letter)
	}
}

// once refuses a record, and cannot render it.
type once struct {
	brittle
	refused bool
}

func (w *once) Write(context.Context, any) error {
	if w.refused {
		return nil
	}
	w.refused = true
	return &RecordError{Index: 1, Err: errors.New("refused")}
}
