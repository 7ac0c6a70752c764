package keys

import (
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/benchmarks/measure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// crowd is work that notes how many are at it, and lets nobody go before a number
// of them has been at it together, once.
type crowd struct {
	mu   sync.Mutex
	now  int
	most int
	want int
	met  chan struct{}
}

func (c *crowd) work(ctx context.Context) error {
	c.mu.Lock()
	c.now++
	if c.most = max(c.most, c.now); c.most == c.want {
		c.want = 0
		close(c.met)
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now--
	}()
	select {
	case <-c.met:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// With a worker for each key, one record of each key is at work at once; with one
// worker, one record. That each key's come in order is what the benchmark itself
// refuses to go without.
func TestBench(t *testing.T) {
	const keys = 12
	one, all := &crowd{want: 1, met: make(chan struct{})}, &crowd{want: keys, met: make(chan struct{})}
	p := plan{keys: keys, serial: 2, keyed: 8, options: measure.Options{Rounds: 1, QuietWait: -1, RunLimit: time.Minute}}
	turn := 0
	var mu sync.Mutex
	p.work = func(ctx context.Context) error {
		mu.Lock()
		turn++
		c := all
		if turn <= keys*2 { // the serial variant is first
			c = one
		}
		mu.Unlock()
		return c.work(ctx)
	}
	results, err := bench(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if one.most != 1 || all.most != keys {
		t.Errorf("at work at once: %d with one worker, %d with a worker for each of %d keys", one.most, all.most, keys)
	}
	if len(results) != 2 || results[0].Name != "serial" || results[1].Name != "per-key" || results[1].RatioToSerial == nil || results[1].RatioToLoop != nil {
		t.Errorf("the results are %+v", results)
	}
}

func TestLedger(t *testing.T) {
	at := func(key, n uint32) *actor.Delivery {
		return &actor.Delivery{Record: actor.Record{Key: binary.BigEndian.AppendUint32(nil, key), Value: binary.BigEndian.AppendUint32(nil, n)}}
	}
	none := func(context.Context) error { return nil }
	for name, c := range map[string]struct {
		give func(l *ledger) error
		want string
	}{
		"all":         {func(l *ledger) error { return l.handle(t.Context(), at(0, 1), none) }, ""},
		"again":       {func(l *ledger) error { return l.handle(t.Context(), at(0, 0), none) }, "record 0 of key 0 came where 1 should have"},
		"one missing": {func(l *ledger) error { return l.handle(t.Context(), at(0, 2), none) }, "record 2 of key 0 came where 1 should have"},
		"at once": {func(l *ledger) error {
			return l.handle(t.Context(), at(0, 1), func(context.Context) error { return l.handle(t.Context(), at(0, 2), none) })
		}, "record 2 of key 0 came while the one before was at work"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(1, 2)
			if err := l.handle(t.Context(), at(0, 0), none); err != nil {
				t.Fatal(err)
			}
			given := c.give(l)
			err := l.await(t.Context())
			if (err == nil) != (c.want == "") || (given == nil) != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, and the handler %v", err, given)
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := wait(ctx); err != context.Canceled {
		t.Errorf("it says %v", err)
	}
}
