package actor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// What a publisher said about the records of one writer, by number.
type saidOfRecord struct {
	at  Published
	err error
}

// chaoticWay is a partition, and the way to it, on which for a while requests and
// answers get lost or late, and the disk is full.
type chaoticWay struct {
	mu     sync.Mutex
	random *rand.Rand
	bad    bool
}

func (w *chaoticWay) draw(n int) (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n), w.bad
}

func (w *chaoticWay) turn(bad bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bad = bad
}

func (w *chaoticWay) fault(a storagefake.Append) storagefake.Fault {
	n, bad := w.draw(4)
	if !bad || a.Kind != storage.Data || a.Log != ordersLog {
		return storagefake.Fault{}
	}
	return []storagefake.Fault{{}, {LoseReply: true}, {LoseRequest: true}, {Err: storage.ErrFull}}[n]
}

// between has all that a publisher sends to partition 0 go this way.
func (w *chaoticWay) between(t *testing.T, s *System, p *Publisher) (stop func()) {
	lane := (*p.lanes.Load())[0]
	partition, lost := lane.ref, fmt.Errorf("%w: lost", ErrUnknown)
	pid := spawn(t, s, "chaotic-"+p.ID(), func(c pactor.Context) {
		o, ok := c.Message().(*order)
		if !ok {
			return
		}
		done := o.done
		switch n, bad := w.draw(9); {
		case bad && n < 3:
			time.AfterFunc(time.Duration(n)*9*time.Millisecond, func() { o.Refused(lost) })
			return
		case bad && n < 6:
			o.done = func(Ack, error) {
				time.AfterFunc(time.Duration(n-3)*9*time.Millisecond, func() { done(Ack{Offset: NoOffset}, lost) })
			}
		case bad && n < 8:
			o.Refused(ErrFull)
			return
		}
		s.Send(partition.pid.Load(), o)
	})
	lane.ref = &partitionRef{gate: partition.gate}
	lane.ref.pid.Store(pid)
	return func() { s.Stop(pid) }
}

// Several publish, with and without a condition, flush, and are given up after
// DeliveryTimeout: what is acknowledged is stored once, where it is said to be, and in
// order; what has failed is not stored, unless the error is an ErrUnknown.
func TestAPublisherInChaos(t *testing.T) {
	const writers, each = 3, 40
	for seed := range uint64(25) {
		inVirtualTime(t, func(t *testing.T) {
			store, way := storagefake.New(), &chaoticWay{random: rand.New(rand.NewPCG(seed, 7))}
			store.OnAppend(way.fault)
			on(t, store, func(s *System) {
				topic := declare(t, s, "orders", TopicConfig{KeyIndex: true})
				p := newPublisher(t, topic, PublisherOptions{BatchBytes: 1 + int(seed%3)*40,
					DeliveryTimeout: 400 * time.Millisecond, RetryBackoff: 30 * time.Millisecond})
				stop := way.between(t, s, p)
				var said [writers][each]saidOfRecord
				var all sync.WaitGroup
				for w := range writers {
					all.Go(func() { publishInChaos(t, p, rand.New(rand.NewPCG(seed, uint64(w))), w, said[w][:]) })
				}
				for range 10 {
					way.turn(true)
					time.Sleep(700 * time.Millisecond)
					way.turn(false)
					time.Sleep(60 * time.Millisecond)
				}
				all.Wait()
				stop()
				stored := map[string]uint64{}
				newest := [writers]int{}
				for _, text := range readTexts(t, topic, FromBeginning()) {
					var at uint64
					var w, i int
					if _, err := fmt.Sscanf(text, "%d:%d-%d=x", &at, &w, &i); err != nil {
						t.Fatal(err)
					}
					key := fmt.Sprint(w, "-", i)
					if before, twice := stored[key]; twice || i < newest[w] {
						t.Errorf("seed %d: %s is at %d, behind %d-%d and %d", seed, key, at, w, newest[w], before)
					}
					stored[key], newest[w] = at, i
				}
				for w := range said {
					for i, one := range said[w] {
						at, is := stored[fmt.Sprint(w, "-", i)]
						if !one.fits(at, is) {
							t.Errorf("seed %d: %d-%d, %t at %d: %+v, %v", seed, w, i, is, at, one.at, one.err)
						}
					}
				}
			})
		})
	}
}

// fits says whether what was said of a record agrees with whether and where it is stored.
func (o saidOfRecord) fits(at uint64, is bool) bool {
	if o.err != nil {
		return !is || errors.Is(o.err, ErrUnknown)
	}
	return is && (o.at.Offset == NoOffset || o.at.Offset == at)
}

func publishInChaos(t *testing.T, p *Publisher, random *rand.Rand, w int, said []saidOfRecord) {
	ctx := context.Background()
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for i := range said {
		key := fmt.Sprint(w, "-", i)
		r := pairs(key + "=x")
		if random.IntN(4) == 0 {
			said[i].at, said[i].err = p.PublishIf(ctx, 0, expecting(key, NoOffset), r)
			continue
		}
		f, err := p.Publish(ctx, 0, &r[0])
		if err != nil {
			t.Error(err)
			return
		}
		waiting.Go(func() { said[i].at, said[i].err = f.Wait(ctx) })
		time.Sleep(time.Duration(max(0, random.IntN(160)-80)) * time.Millisecond)
		if random.IntN(10) == 0 {
			if err := p.Flush(ctx); err != nil {
				t.Error(err)
			}
		}
	}
}
