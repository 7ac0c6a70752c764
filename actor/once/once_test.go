package once

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var errBank = errors.New("the bank is closed")

// pays is an effect that counts.
func pays(result string, paid *int) Effect[string] {
	return func(context.Context, bool) (string, error) {
		*paid++
		return result, nil
	}
}

// known is how many keys are done, if there are no others.
func known(l *Ledger[string]) int {
	if done, others := l.Count(); others == 0 {
		return done
	}
	return -1
}

func mustDo(t tb, l *Ledger[string], key string, f Effect[string]) (string, bool) {
	t.Helper()
	result, repeated, err := l.Do(context.Background(), key, f)
	if err != nil {
		t.Fatal(err)
	}
	return result, repeated
}

func TestTheSecondTimeReturnsTheFirstResult(t *testing.T) {
	e := newEngine(t)
	l, paid := open(t, e, Options{}), 0
	for i := range 5 {
		result, repeated := mustDo(t, l, "ord-1", pays(fmt.Sprint("receipt ", i), &paid))
		if result != "receipt 0" || repeated != (i > 0) || paid != 1 {
			t.Errorf("time %d: %q, repeated: %t, paid %d times", i, result, repeated, paid)
		}
		if i == 2 { // another process, say
			l = open(t, e, Options{})
		}
	}
	if result, _ := mustDo(t, l, "ord-2", pays("other", &paid)); result != "other" || known(l) != 2 {
		t.Errorf("another key: %q, %d known", result, known(l))
	}
}

// The effect that comes behind one which may have happened is told so, in this process
// and in the next.
func TestDoubt(t *testing.T) {
	ends := map[string]Effect[string]{
		"error": func(context.Context, bool) (string, error) { return "", errBank },
		"panic": func(context.Context, bool) (string, error) { panic(errBank) },
	}
	for name, end := range ends {
		for _, reopen := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", reopened: ", reopen), func(t *testing.T) {
				e := newEngine(t)
				l := open(t, e, Options{})
				func() {
					defer func() { _ = recover() }()
					if _, repeated, err := l.Do(t.Context(), "k", end); err != errBank || repeated {
						t.Errorf("%v, repeated: %t", err, repeated)
					}
				}()
				if reopen {
					l = open(t, e, Options{})
				}
				var doubts []bool
				for range 2 {
					mustDo(t, l, "k", func(_ context.Context, doubt bool) (string, error) {
						doubts = append(doubts, doubt)
						return "", nil
					})
				}
				mustDo(t, l, "other", func(_ context.Context, doubt bool) (string, error) {
					doubts = append(doubts, doubt)
					return "", nil
				})
				if !slices.Equal(doubts, []bool{true, false}) {
					t.Errorf("doubts %v", doubts)
				}
			})
		}
	}
}

// Of those who come at the same time one has the effect, and the others its result.
func TestTogether(t *testing.T) {
	l, paid := open(t, newEngine(t), Options{}), 0
	var all sync.WaitGroup
	var repeats [20]bool
	for i := range repeats {
		all.Go(func() {
			var result string
			if result, repeats[i] = mustDo(t, l, "k", pays("receipt", &paid)); result != "receipt" {
				t.Errorf("result %q", result)
			}
		})
	}
	all.Wait()
	if n := len(slices.DeleteFunc(repeats[:], func(r bool) bool { return r })); paid != 1 || n != 1 {
		t.Errorf("paid %d times, %d firsts", paid, n)
	}
}

// Who waits for another's effect waits within his context; who has the effect is not
// robbed of its result by the end of his.
func TestContexts(t *testing.T) {
	l := open(t, newEngine(t), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	began, waited := make(chan struct{}), make(chan error)
	go func() {
		<-began
		_, _, err := l.Do(ctx, "k", nil)
		waited <- err
	}()
	result, _, err := l.Do(ctx, "k", func(context.Context, bool) (string, error) {
		close(began)
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("who waited: %v", err)
		}
		return "receipt", nil
	})
	if result != "receipt" || err != nil {
		t.Errorf("%q, %v", result, err)
	}
	if result, repeated := mustDo(t, l, "k", nil); result != "receipt" || !repeated {
		t.Errorf("%q, repeated: %t", result, repeated)
	}
}

func TestOneOwner(t *testing.T) {
	e, paid := newEngine(t), 0
	old := open(t, e, Options{})
	mustDo(t, old, "k", pays("receipt", &paid))
	open(t, e, Options{})
	if _, _, err := old.Do(t.Context(), "other", pays("", &paid)); err == nil || paid != 1 {
		t.Errorf("a ledger that was opened again elsewhere: %v, paid %d times", err, paid)
	}
}

func TestKeysAreForgottenInTime(t *testing.T) {
	e, paid := newEngine(t), 0
	l := open(t, e, Options{Window: time.Hour, KeysMax: 2})
	now := time.Now()
	l.now = func() time.Time { return now }
	mustDo(t, l, "a", pays("1", &paid))
	now = now.Add(40 * time.Minute)
	mustDo(t, l, "b", pays("2", &paid))
	if _, _, err := l.Do(t.Context(), "c", pays("3", &paid)); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "KeysMax") {
		t.Errorf("a third key of two: %v", err)
	}
	now = now.Add(40 * time.Minute)
	if _, repeated := mustDo(t, l, "b", pays("", &paid)); !repeated || known(l) != 1 {
		t.Errorf("b is forgotten after 40 minutes of 60, or a is not after 80: %d known", known(l))
	}
	if result, repeated := mustDo(t, l, "a", pays("4", &paid)); repeated || result != "4" || paid != 3 {
		t.Errorf("a is not forgotten: %q, paid %d times", result, paid)
	}
	now = now.Add(1000 * time.Hour)
	if known(l) != 0 || len(l.aged) != 0 {
		t.Errorf("%d keys and %d notes are remembered for ever", known(l), len(l.aged))
	}
}

func TestMistakes(t *testing.T) {
	e := newEngine(t)
	l := open(t, e, Options{})
	for _, key := range []string{"", strings.Repeat("k", KeyBytesMax+1)} {
		if _, _, err := l.Do(t.Context(), key, nil); !errors.Is(err, ErrKey) {
			t.Errorf("a key of %d bytes: %v", len(key), err)
		}
	}
	for _, o := range []Options{{Window: -1}, {KeysMax: -1}} {
		if _, err := Open[string](t.Context(), e, "x", o); err == nil {
			t.Errorf("%+v is no mistake", o)
		}
	}
	if _, err := Open[string](t.Context(), e, "No name", Options{}); err == nil || !strings.HasPrefix(err.Error(), "ledger No name: ") {
		t.Errorf("a name that is none: %v", err)
	}
	if _, err := Open[string](t.Context(), e, "charges", Options{Window: time.Hour}); err == nil {
		t.Error("another window is no conflict")
	}
}

// bank is a world outside that can be asked.
type bank struct{ paid map[string]int }

// TestAgainstABank drives a ledger through whatever can go wrong. An effect that asks
// when in doubt pays once for each key, and all who get a result get the same.
func TestAgainstABank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := newEngine(t)
		l := open(t, e, Options{})
		b := bank{map[string]int{}}
		results := map[string]string{}
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			ending := rapid.SampledFrom([]string{"well", "refused", "lost answer", "panic", "crash"}).Draw(t, "ending")
			result, err := b.through(l, key, fmt.Sprint("receipt ", i), ending)
			if ending == "crash" {
				l = open(t, e, Options{})
			}
			if first, known := results[key]; err == nil && known && first != result {
				t.Error("two results of ", key, ": ", first, " and ", result)
			} else if known && err != nil {
				t.Error("what was done before ends with ", err)
			} else if err == nil {
				results[key] = result
			}
		}
		for key, times := range b.paid {
			if times > 1 {
				t.Error(key, " was paid ", times, " times")
			}
		}
		for key := range results {
			if b.paid[key] != 1 {
				t.Error(key, " has a receipt, and was paid ", b.paid[key], " times")
			}
		}
		all := map[string]string{}
		if err := l.All(context.Background(), func(d Done[string]) bool { all[d.Key] = d.Result; return true }); err != nil {
			t.Error(err)
		}
		if fmt.Sprint(all) != fmt.Sprint(results) {
			t.Error("the ledger says ", all, ", and should ", results)
		}
	})
}

// through pays by the ledger, with an ending that is less than good.
func (b bank) through(l *Ledger[string], key, receipt, ending string) (result string, err error) {
	defer func() {
		if recover() != nil {
			err = errBank
		}
	}()
	result, _, err = l.Do(context.Background(), key, func(_ context.Context, doubt bool) (string, error) {
		if ending == "refused" {
			return "", errBank
		}
		if !doubt || b.paid[key] == 0 {
			b.paid[key]++
		}
		switch ending {
		case "lost answer":
			return "", errBank
		case "panic", "crash":
			panic(ending)
		}
		return receipt, nil
	})
	return result, err
}
