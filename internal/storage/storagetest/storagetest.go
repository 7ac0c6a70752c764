// Package storagetest is the conformance suite of storage.Store: what every
// implementation must do, whatever it keeps its logs in.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage"
)

// Open opens a store on one and the same content. The suite closes the store
// before it calls Open again.
type Open func() (storage.Store, error)

// Run checks the implementation. prepare is called once for each test and
// returns the way to open a store that is empty at first.
func Run(t *testing.T, prepare func(t *testing.T) Open) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"order", testOrder},
		{"bounds of an empty log", testEmpty},
		{"read from every position", testReadEverywhere},
		{"read bounded", testReadBounded},
		{"sizes", testSizes},
		{"too large", testTooLarge},
		{"unknown kind", testUnknownKind},
		{"last", testLast},
		{"trim", testTrim},
		{"trim while reading", testTrimWhileReading},
		{"trim everything", testTrimEverything},
		{"fencing: append before the marker", testFenceBefore},
		{"fencing: marker while in flight", testFenceInFlight},
		{"fencing: append after the marker", testFenceAfter},
		{"reopen", testReopen},
		{"memory logs end with the store", testMemory},
		{"options conflict", testOptions},
		{"names", testNames},
		{"list and delete", testListAndDelete},
		{"closed", testClosed},
		{"cancelled", testCancelled},
		{"readers during appends", testReadersDuringAppends},
		{"data belongs to the caller", testOwnership},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fixture{t: t, open: prepare(t)}
			f.reopen()
			t.Cleanup(func() { _ = f.s.Close() })
			c.test(t, f)
		})
	}
}

// fixture is a store and shorthands that end the test on an error.
type fixture struct {
	t    *testing.T
	open Open
	s    storage.Store
}

// ctx ends long after a sound store would have answered.
func (f *fixture) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *fixture) reopen() {
	f.t.Helper()
	if f.s != nil {
		if err := f.s.Close(); err != nil {
			f.t.Fatal(err)
		}
	}
	var err error
	if f.s, err = f.open(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) log(name string, d storage.Durability) storage.Log {
	f.t.Helper()
	l, err := f.s.OpenLog(f.ctx(), name, storage.LogOptions{Durability: d})
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

func (f *fixture) append(l storage.Log, kind storage.Kind, data string, expect uint64) {
	f.t.Helper()
	seq, err := l.Append(f.ctx(), kind, []byte(data), expect)
	if err != nil || seq != expect+1 {
		f.t.Fatalf("append after %d: %d, %v", expect, seq, err)
	}
}

// fill appends n entries "1", "2", ... to a new log.
func (f *fixture) fill(name string, n int) storage.Log {
	f.t.Helper()
	l := f.log(name, storage.Fsync)
	for i := range n {
		f.append(l, storage.Data, fmt.Sprint(i+1), uint64(i))
	}
	return l
}

func (f *fixture) bounds(l storage.Log, first, last uint64) {
	f.t.Helper()
	b, err := l.Bounds(f.ctx())
	if err != nil || b.First != first || b.Last != last {
		f.t.Fatalf("bounds = %+v, %v; want %d to %d", b, err, first, last)
	}
}

// readAll reads to the end in steps, and requires ascending sequences.
func (f *fixture) readAll(l storage.Log, from uint64, maxBytes int) []storage.Entry {
	f.t.Helper()
	var out []storage.Entry
	for {
		es, err := l.Read(f.ctx(), from, maxBytes)
		if err != nil {
			f.t.Fatal(err)
		}
		if len(es) == 0 {
			return out
		}
		for _, e := range es {
			if e.Seq < from {
				f.t.Fatalf("entry %d was read from %d on", e.Seq, from)
			}
			from = e.Seq + 1
		}
		out = append(out, es...)
	}
}

func testOrder(t *testing.T, f *fixture) {
	for _, d := range []storage.Durability{storage.Fsync, storage.Interval, storage.Memory} {
		l := f.log("log_"+d.String(), d)
		if l.Name() != "log_"+d.String() {
			t.Errorf("name = %q", l.Name())
		}
		kinds := []storage.Kind{storage.Data, storage.State, storage.Epoch}
		for i := range 30 {
			f.append(l, kinds[i%3], fmt.Sprint(i), uint64(i))
		}
		es := f.readAll(l, 1, 1<<20)
		if len(es) != 30 {
			t.Fatalf("%s: %d entries", d, len(es))
		}
		for i, e := range es {
			if e.Seq != uint64(i+1) || e.Kind != kinds[i%3] || string(e.Data) != fmt.Sprint(i) {
				t.Errorf("%s: entry %d is %d %c %q", d, i, e.Seq, e.Kind, e.Data)
			}
		}
	}
}

func testEmpty(t *testing.T, f *fixture) {
	l := f.log("a", storage.Fsync)
	f.bounds(l, 1, 0)
	for _, from := range []uint64{0, 1, 2, 100} {
		if es, err := l.Read(f.ctx(), from, 100); len(es) != 0 || err != nil {
			t.Errorf("read from %d: %v, %v", from, es, err)
		}
	}
	if err := l.Trim(f.ctx(), 5); err != nil {
		t.Error(err)
	}
	f.bounds(l, 1, 0)
	f.append(l, storage.Data, "x", 0)
}

func testReadEverywhere(t *testing.T, f *fixture) {
	const n = 700 // more than one request of any implementation brings
	l := f.fill("a", n)
	for _, from := range []uint64{0, 1, 2, 255, 256, 257, 258, n - 1, n, n + 1, n + 50} {
		want := n - int(max(from, 1)) + 1
		if got := f.readAll(l, from, 1<<20); len(got) != max(want, 0) {
			t.Errorf("from %d there are %d entries, want %d", from, len(got), want)
		}
	}
}

func testReadBounded(t *testing.T, f *fixture) {
	l := f.log("a", storage.Fsync)
	for i := range 10 {
		f.append(l, storage.Data, strings.Repeat("x", 100), uint64(i))
	}
	for maxBytes, want := range map[int]int{-1: 1, 0: 1, 1: 1, 99: 1, 100: 1, 199: 1, 200: 2, 250: 2, 999: 9, 1000: 10, 5000: 10} {
		es, err := l.Read(f.ctx(), 1, maxBytes)
		if err != nil || len(es) != want {
			t.Errorf("%d bytes: %d entries, %v; want %d", maxBytes, len(es), err, want)
		}
	}
}

func testSizes(t *testing.T, f *fixture) {
	l := f.log("a", storage.Interval)
	sizes := []int{0, 1, 4095, 4096, 64 << 10, 1 << 20, storage.MaxEntryBytes - 1, storage.MaxEntryBytes, 3}
	for i, n := range sizes {
		f.append(l, storage.Data, string(pattern(n, i)), uint64(i))
	}
	for _, maxBytes := range []int{1, 1 << 20, 64 << 20} {
		es := f.readAll(l, 1, maxBytes)
		if len(es) != len(sizes) {
			t.Fatalf("%d entries, want %d", len(es), len(sizes))
		}
		for i, e := range es {
			if !bytes.Equal(e.Data, pattern(sizes[i], i)) {
				t.Errorf("entry %d of %d bytes is not what it was", i, sizes[i])
			}
		}
	}
	e, err := l.Last(f.ctx(), storage.Data)
	if err != nil || len(e.Data) != 3 {
		t.Errorf("last: %d bytes, %v", len(e.Data), err)
	}
}

// pattern differs at every offset of a page and from seed to seed.
func pattern(n, seed int) []byte {
	var piece [251]byte
	for i := range piece {
		piece[i] = byte(i + seed)
	}
	return bytes.Repeat(piece[:], n/len(piece)+1)[:n]
}

func testTooLarge(t *testing.T, f *fixture) {
	l := f.log("a", storage.Interval)
	_, err := l.Append(f.ctx(), storage.Data, make([]byte, storage.MaxEntryBytes+1), 0)
	if !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("err = %v", err)
	}
	f.bounds(l, 1, 0)
	f.append(l, storage.Data, "small", 0)
}

func testUnknownKind(t *testing.T, f *fixture) {
	l := f.log("a", storage.Fsync)
	for _, k := range []storage.Kind{0, '*', '>', '.', 'x', 0xff} {
		if _, err := l.Append(f.ctx(), k, []byte("x"), 0); err == nil {
			t.Errorf("kind %q was taken", byte(k))
		}
	}
	f.bounds(l, 1, 0)
}

func testLast(t *testing.T, f *fixture) {
	l := f.log("a", storage.Fsync)
	if _, err := l.Last(f.ctx(), storage.Data); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("of an empty log: %v", err)
	}
	f.append(l, storage.State, "s1", 0)
	f.append(l, storage.Data, "d1", 1)
	f.append(l, storage.State, "s2", 2)
	f.append(l, storage.Data, "d2", 3)
	for kind, want := range map[storage.Kind]string{storage.State: "s2", storage.Data: "d2"} {
		e, err := l.Last(f.ctx(), kind)
		if err != nil || string(e.Data) != want || e.Kind != kind {
			t.Errorf("last %c = %+v, %v", kind, e, err)
		}
	}
	if _, err := l.Last(f.ctx(), storage.Epoch); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("of a kind there is none of: %v", err)
	}
	if err := l.Trim(f.ctx(), 4); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Last(f.ctx(), storage.State); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("of a kind that was trimmed: %v", err)
	}
}

func testTrim(t *testing.T, f *fixture) {
	l := f.fill("a", 10)
	for _, c := range []struct{ before, first uint64 }{{0, 1}, {1, 1}, {4, 4}, {2, 4}, {10, 10}} {
		if err := l.Trim(f.ctx(), c.before); err != nil {
			t.Fatal(err)
		}
		f.bounds(l, c.first, 10)
	}
	if es := f.readAll(l, 1, 1000); len(es) != 1 || es[0].Seq != 10 {
		t.Errorf("after trimming: %v", es)
	}
	f.append(l, storage.Data, "11", 10)
}

func testTrimEverything(t *testing.T, f *fixture) {
	l := f.fill("a", 5)
	if err := l.Trim(f.ctx(), 1000); err != nil {
		t.Fatal(err)
	}
	f.bounds(l, 6, 5)
	if es := f.readAll(l, 1, 1000); len(es) != 0 {
		t.Errorf("entries: %v", es)
	}
	f.reopen()
	l = f.log("a", storage.Fsync)
	f.bounds(l, 6, 5)
	f.append(l, storage.Data, "6", 5)
}

func testTrimWhileReading(t *testing.T, f *fixture) {
	const n = 400
	l := f.fill("a", n)
	done := make(chan error, 1)
	go func() {
		for before := uint64(1); before <= n; before += 13 {
			if err := l.Trim(context.Background(), before); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 20 {
		next := uint64(0)
		for _, e := range f.readAll(l, 1, 50) {
			if string(e.Data) != fmt.Sprint(e.Seq) || e.Seq < next {
				t.Fatalf("entry %d is %q", e.Seq, e.Data)
			}
			next = e.Seq + 1
		}
		if next != n+1 {
			t.Fatalf("the last entry read is %d", next-1)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// The owner, a zombie, has at most one append outstanding. Whenever that
// reaches the store, before or after the marker of its successor, the two never
// both own the log.
func testFenceBefore(t *testing.T, f *fixture) {
	zombie, owner := f.fill("a", 3), f.log("a", storage.Fsync)
	f.append(zombie, storage.Data, "late", 3)
	if _, err := owner.Append(f.ctx(), storage.Epoch, []byte("2"), 3); !errors.Is(err, storage.ErrFenced) {
		t.Fatalf("a marker that does not know the tail: %v", err)
	}
	f.append(owner, storage.Epoch, "2", 4)
	refused(t, f, zombie, 4)
	f.append(owner, storage.Data, "new", 5)
	refused(t, f, zombie, 4, 5)
}

// refused requires that the zombie can append after none of the sequences.
func refused(t *testing.T, f *fixture, zombie storage.Log, expects ...uint64) {
	t.Helper()
	for _, expect := range expects {
		if _, err := zombie.Append(f.ctx(), storage.Data, []byte("zombie"), expect); !errors.Is(err, storage.ErrFenced) {
			t.Errorf("the zombie's append after %d: %v", expect, err)
		}
	}
}

// Zombie and successor race for the same sequence. Exactly one wins; when it is
// the zombie, its successor takes the next sequence, and only then owns the log.
func testFenceInFlight(t *testing.T, f *fixture) {
	zombie, owner := f.log("a", storage.Interval), f.log("a", storage.Interval)
	ctx, last := f.ctx(), uint64(0)
	for range 200 {
		var zombieErr error
		var wg sync.WaitGroup
		wg.Go(func() { _, zombieErr = zombie.Append(ctx, storage.Data, []byte("zombie"), last) })
		_, err := owner.Append(ctx, storage.Epoch, []byte("marker"), last)
		wg.Wait()
		if (err == nil) == (zombieErr == nil) {
			t.Fatalf("after %d both or none won: %v, %v", last, err, zombieErr)
		}
		if err = errors.Join(err, zombieErr); !errors.Is(err, storage.ErrFenced) {
			t.Fatal(err)
		}
		last++
		if zombieErr == nil {
			f.append(owner, storage.Epoch, "marker", last)
			last++
		}
		refused(t, f, zombie, last-1)
	}
	if es := f.readAll(owner, 1, 1<<20); len(es) != int(last) {
		t.Errorf("%d entries, want %d", len(es), last)
	}
}

func testFenceAfter(t *testing.T, f *fixture) {
	zombie, owner := f.fill("a", 3), f.log("a", storage.Fsync)
	f.append(owner, storage.Epoch, "2", 3)
	refused(t, f, zombie, 3, 2, 0, 99)
	f.append(owner, storage.Data, "4", 4)
	refused(t, f, zombie, 3, 4)
	if es := f.readAll(owner, 4, 1000); len(es) != 2 || string(es[1].Data) != "4" {
		t.Errorf("the log has %v", es)
	}
}

func testReopen(t *testing.T, f *fixture) {
	l := f.fill("a", 300)
	w := f.log("b", storage.Interval)
	f.append(w, storage.State, "w", 0)
	if err := l.Trim(f.ctx(), 100); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.reopen()
		l, w = f.log("a", storage.Fsync), f.log("b", storage.Interval)
		f.bounds(l, 100, 300)
		f.bounds(w, 1, 1)
		if es := f.readAll(l, 1, 1000); len(es) != 201 || string(es[0].Data) != "100" {
			t.Fatalf("%d entries", len(es))
		}
		if e, err := w.Last(f.ctx(), storage.State); err != nil || string(e.Data) != "w" {
			t.Errorf("last = %v, %v", e, err)
		}
	}
	f.append(l, storage.Data, "301", 300)
}

func testMemory(t *testing.T, f *fixture) {
	f.append(f.log("a", storage.Memory), storage.Data, "x", 0)
	f.reopen()
	f.bounds(f.log("a", storage.Memory), 1, 0)
}

func testOptions(t *testing.T, f *fixture) {
	all := []storage.Durability{storage.Fsync, storage.Interval, storage.Memory}
	for _, is := range all {
		f.log("log_"+is.String(), is)
		for _, want := range all {
			_, err := f.s.OpenLog(f.ctx(), "log_"+is.String(), storage.LogOptions{Durability: want})
			if is == want && err != nil || is != want && !errors.Is(err, storage.ErrOptions) {
				t.Errorf("%s opened as %s: %v", is, want, err)
			}
		}
	}
}

func testNames(t *testing.T, f *fixture) {
	bad := []string{"", ".", "..", "a/b", "../a", "a.b", "A", "aB", "a b", "1a", "_a", "a_", "a__b", "-a", "a*", "a>", "ä",
		"a\x00", "a\n", "a\\b", strings.Repeat("a", 201)}
	for _, name := range bad {
		if _, err := f.s.OpenLog(f.ctx(), name, storage.LogOptions{}); !errors.Is(err, storage.ErrName) {
			t.Errorf("open %q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "topic_orders_0", "a-b_9-c_-", "con", strings.Repeat("a", 200)} {
		f.append(f.log(name, storage.Fsync), storage.Data, name, 0)
	}
	names, err := f.s.Logs(f.ctx(), "")
	if err != nil || len(names) != 5 {
		t.Errorf("logs: %v, %v", names, err)
	}
}

func testListAndDelete(t *testing.T, f *fixture) {
	for i, name := range []string{"topic_b_0", "topic_a_0", "topic_a_1", "job_a", "tmp"} {
		f.log(name, []storage.Durability{storage.Fsync, storage.Interval, storage.Memory}[i%3])
	}
	list := func(prefix string, want ...string) {
		t.Helper()
		if got, err := f.s.Logs(f.ctx(), prefix); err != nil || !slices.Equal(got, want) {
			t.Errorf("logs %q = %v, %v", prefix, got, err)
		}
	}
	list("", "job_a", "tmp", "topic_a_0", "topic_a_1", "topic_b_0")
	list("topic_a", "topic_a_0", "topic_a_1")
	list("none")
	l := f.log("tmp", storage.Interval)
	f.append(l, storage.Data, "x", 0)
	if err := f.s.DeleteLog(f.ctx(), "tmp"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"append": second(l.Append(f.ctx(), storage.Data, nil, 1)), "read": second(l.Read(f.ctx(), 1, 1)),
		"bounds": second(l.Bounds(f.ctx())), "last": second(l.Last(f.ctx(), storage.Data)),
		"trim": l.Trim(f.ctx(), 1), "delete": f.s.DeleteLog(f.ctx(), "tmp"), "never": f.s.DeleteLog(f.ctx(), "never"),
	} {
		if !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s of a deleted log: %v", name, err)
		}
	}
	list("", "job_a", "topic_a_0", "topic_a_1", "topic_b_0")
	f.bounds(f.log("tmp", storage.Fsync), 1, 0)
}

func second[T any](_ T, err error) error { return err }

func testClosed(t *testing.T, f *fixture) {
	one, two := f.fill("a", 1), f.log("a", storage.Fsync)
	if err := errors.Join(one.Close(), one.Close()); err != nil {
		t.Error(err)
	}
	f.append(two, storage.Data, "2", 1)
	if err := errors.Join(f.s.Close(), f.s.Close()); err != nil {
		t.Error(err)
	}
	for i, l := range []storage.Log{one, two} {
		for name, err := range map[string]error{
			"append": second(l.Append(f.ctx(), storage.Data, nil, 1)), "read": second(l.Read(f.ctx(), 1, 1)),
			"bounds": second(l.Bounds(f.ctx())), "last": second(l.Last(f.ctx(), storage.Data)), "trim": l.Trim(f.ctx(), 1),
		} {
			if !errors.Is(err, storage.ErrClosed) {
				t.Errorf("%s on handle %d: %v", name, i, err)
			}
		}
	}
	for name, err := range map[string]error{
		"open": second(f.s.OpenLog(f.ctx(), "a", storage.LogOptions{})), "list": second(f.s.Logs(f.ctx(), "")),
		"delete": f.s.DeleteLog(f.ctx(), "a"),
	} {
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testCancelled(t *testing.T, f *fixture) {
	l := f.fill("a", 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Append(ctx, storage.Data, []byte("x"), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("append: %v", err)
	}
	if _, err := l.Read(ctx, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("read: %v", err)
	}
	b, err := l.Bounds(f.ctx())
	if err != nil {
		t.Fatal(err)
	}
	f.append(l, storage.Data, "next", b.Last)
}

// Readers that follow a writer see every entry once and whole.
func testReadersDuringAppends(t *testing.T, f *fixture) {
	const n = 400
	l := f.log("a", storage.Interval)
	ctx, appended := f.ctx(), make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for next := uint64(1); next <= n; {
				es, err := l.Read(ctx, next, 2000)
				if err != nil {
					t.Error(err)
					return
				}
				if len(es) == 0 {
					<-appended // closed at the end: the rest is there
				}
				for _, e := range es {
					if e.Seq != next || !bytes.Equal(e.Data, pattern(int(e.Seq), 0)) {
						t.Errorf("entry %d was read at %d", e.Seq, next)
						return
					}
					next++
				}
			}
		})
	}
	for i := range n {
		f.append(l, storage.Data, string(pattern(i+1, 0)), uint64(i))
		select {
		case appended <- struct{}{}:
		default:
		}
	}
	close(appended)
	wg.Wait()
}

func testOwnership(t *testing.T, f *fixture) {
	l := f.log("a", storage.Fsync)
	in := []byte("in")
	if _, err := l.Append(f.ctx(), storage.Data, in, 0); err != nil {
		t.Fatal(err)
	}
	in[0] = 'X'
	for range 2 {
		es, err := l.Read(f.ctx(), 1, 100)
		if err != nil || len(es) != 1 || string(es[0].Data) != "in" {
			t.Fatalf("%v, %v", es, err)
		}
		es[0].Data[0] = 'X'
		e, err := l.Last(f.ctx(), storage.Data)
		if err != nil || string(e.Data) != "in" {
			t.Fatalf("%v, %v", e, err)
		}
		e.Data[0] = 'X'
	}
}
