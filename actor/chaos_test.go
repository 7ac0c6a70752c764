package actor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// Whatever is done to a topic and to its group, in any order - consumers come, go and
// crash with their process, the topic is purged, grows, is deleted and made anew, the
// group is rewound, reset, released from its parking - what was published since the
// last thing that was to drop records is handled in the end, and nothing is left over.
func TestTopicsInChaos(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T) {
				c := newChaos(t, seed)
				for range 40 {
					c.step()
					time.Sleep(time.Duration(c.rnd.IntN(3000)) * time.Millisecond)
				}
				c.settle()
				c.end()
			})
		})
	}
}

// chaos is a topic, its group, and what is to be handled.
type chaos struct {
	t         *testing.T
	rnd       *rand.Rand
	store     *storagefake.Store
	sys       *System
	config    TopicConfig
	policy    FailurePolicy
	parks     bool
	consumers []*Consumer
	crashed   []chan error // processes that are coming to their end

	mu    sync.Mutex // held in handlers
	moods *rand.Rand // theirs
	calm  bool       // none fails
	want  map[string]bool
	seen  map[string]bool
	last  int
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), moods: rand.New(rand.NewPCG(seed, 2)), store: storagefake.New(), want: map[string]bool{}, seen: map[string]bool{},
		config: TopicConfig{Partitions: 2}, policy: RetryInPlace(Backoff{Attempts: Forever}, Skip())}
	if c.parks = seed%2 == 1; c.parks {
		c.policy = ParkKey()
	}
	if seed%3 == 0 {
		c.config.Durability = Memory
	}
	c.start()
	declare(t, c.sys, "orders", c.config)
	c.join()
	return c
}

func (c *chaos) start() { c.sys = NewSystem(c.store, WithLogger(slog.New(slog.DiscardHandler))) }

// must ends the test only when everything is closed, since the bubble ends with it.
func (c *chaos) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Error(err)
	}
}

func (c *chaos) join() {
	o := ConsumerOptions{Group: "mailers", Topics: []string{"orders"}, Concurrency: 1 + c.rnd.IntN(4), OnFailure: c.policy}
	if c.rnd.IntN(3) == 0 {
		o.Instance = fmt.Sprint("instance-", c.rnd.IntN(2))
	}
	consumer, err := c.sys.NewConsumer(context.Background(), o, c.handle)
	c.must(err)
	c.consumers = append(c.consumers, consumer)
}

func (c *chaos) handle(_ context.Context, d *Delivery) error {
	c.mu.Lock()
	fails, takes := !c.calm && c.moods.IntN(40) == 0, time.Duration(c.moods.IntN(20))*time.Millisecond
	c.mu.Unlock()
	time.Sleep(takes) // virtual
	if fails {
		return errors.New("no stamps")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[string(d.Value)] = true
	return nil
}

func (c *chaos) step() {
	ctx, g := context.Background(), testGroup(c.t, c.sys)
	switch c.rnd.IntN(16) {
	case 0, 1, 2, 3, 4:
		c.publish()
	case 5:
		c.join()
	case 6:
		if n := len(c.consumers); n > 1 {
			_ = c.consumers[n-1].Close(ctx) // with what went wrong before
			c.consumers = c.consumers[:n-1]
		}
	case 7:
		c.must(c.sys.DeleteTopic(ctx, "orders"))
		time.Sleep(time.Duration(c.rnd.IntN(2)*c.rnd.IntN(40)) * time.Second)
		c.config.Partitions = 1 + c.rnd.IntN(4)
		declare(c.t, c.sys, "orders", c.config)
		clear(c.want)
	case 8:
		c.config.Partitions = min(c.config.Partitions+1, 8)
		_, err := c.sys.AlterTopic(ctx, "orders", func(o *TopicConfig) { o.Partitions = c.config.Partitions })
		c.must(err)
	case 9:
		topic, err := c.sys.Topic(ctx, "orders")
		c.must(errors.Join(err, topic.Purge(ctx)))
		clear(c.want)
	case 10:
		if !c.parks { // what is before a parked record cannot be parked behind it
			_, err := g.Rewind(ctx, MoveBy(-int64(c.rnd.IntN(30))), MoveOptions{})
			c.must(err)
		}
	case 11:
		if _, err := g.Reset(ctx, MoveTo(FromEnd()), MoveOptions{}); !errors.Is(err, ErrGroupActive) {
			c.must(err)
			clear(c.want)
		}
	case 12:
		_, err := g.Lag(ctx)
		c.must(err)
	case 13:
		_ = c.consumers[0].SetConcurrency(ctx, 1+c.rnd.IntN(8)) // it may have been replaced
	case 14:
		c.crash()
	case 15:
		c.release(g)
	}
}

func (c *chaos) publish() {
	topic, err := c.sys.Topic(context.Background(), "orders")
	c.must(err)
	p, err := topic.NewPublisher(context.Background(), PublisherOptions{})
	c.must(err)
	for range 1 + c.rnd.IntN(20) {
		c.last++
		text := fmt.Sprint("record ", c.last)
		_, err := p.PublishSync(context.Background(), c.rnd.IntN(c.config.Partitions), &Record{Key: fmt.Append(nil, c.rnd.IntN(5)), Value: []byte(text)})
		c.must(err)
		c.want[text] = true
	}
	c.must(p.Close(context.Background()))
}

// crash goes on in another process, which finds what the disk has.
func (c *chaos) crash() {
	old, ended := c.sys, make(chan error, 1)
	c.store = c.store.Restart()
	go func() { ended <- old.Close(context.Background()) }()
	c.crashed = append(c.crashed, ended)
	if c.config.Durability == Memory {
		clear(c.want)
	}
	c.consumers = nil
	c.start()
	c.join()
}

func (c *chaos) release(g *Group) {
	parked, err := g.Parked(context.Background())
	c.must(err)
	for _, k := range parked {
		if err := g.Release(context.Background(), k); !errors.Is(err, ErrReplaying) && !errors.Is(err, ErrNotParked) {
			c.must(err)
		}
	}
}

func (c *chaos) settle() {
	c.join()
	c.publish()
	c.mu.Lock()
	c.calm = true
	c.mu.Unlock()
	g := testGroup(c.t, c.sys)
	for range 10 {
		time.Sleep(time.Minute)
		c.release(g)
	}
	synctest.Wait()
	lag, err := g.Lag(context.Background())
	parked, parkedErr := g.Parked(context.Background())
	if err != nil || lag.Records != 0 || parkedErr != nil || len(parked) != 0 {
		c.t.Errorf("what is left over: %+v, %v; parked: %+v, %v", lag, err, parked, parkedErr)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for text := range c.want {
		if !c.seen[text] {
			c.t.Errorf("%s was not handled", text)
		}
	}
}

func (c *chaos) end() {
	for _, consumer := range c.consumers {
		_ = consumer.Close(context.Background()) // what it met with on the way is no concern here
	}
	c.must(c.sys.Close(context.Background()))
	for _, ended := range c.crashed {
		<-ended
	}
}
