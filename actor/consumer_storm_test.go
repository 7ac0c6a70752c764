package actor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/group"
)

// ledger is what a storm did to every record.
type ledger struct {
	t  *testing.T
	mu sync.Mutex

	done    [][]int           // how often each record of each partition was processed
	working []map[string]bool // the keys at work in each partition
	owner   []*consumerLane   // who works on each partition
	hands   []int             // how many of its handlers are at work
	prefix  []int             // all records before it are done
	twice   int
}

func newLedger(t *testing.T, partitions int) *ledger {
	l := &ledger{t: t, done: make([][]int, partitions), working: make([]map[string]bool, partitions),
		owner: make([]*consumerLane, partitions), hands: make([]int, partitions), prefix: make([]int, partitions)}
	for i := range l.working {
		l.working[i] = map[string]bool{}
	}
	return l
}

func (l *ledger) begin(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, key := d.Partition, string(d.Key)
	if l.hands[p] > 0 && l.owner[p] != d.lane {
		l.t.Errorf("partition %d, offset %d: two owners at work", p, d.Offset)
	}
	if l.working[p][key] {
		l.t.Errorf("partition %d, offset %d: two records of key %s at work", p, d.Offset, key)
	}
	l.owner[p], l.working[p][key] = d.lane, true
	l.hands[p]++
}

// end notes that a record was processed: then those before it of the same key were
// too. The value of a record is the offset of the one before it of its key.
func (l *ledger) end(d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := d.Partition
	l.hands[p]--
	delete(l.working[p], string(d.Key))
	if before, _ := strconv.Atoi(string(d.Value)); before >= 0 && l.done[p][before] == 0 {
		l.t.Errorf("partition %d: offset %d was processed before offset %d, of the same key", p, d.Offset, before)
	}
	if l.done[p][d.Offset]++; l.done[p][d.Offset] == 2 {
		l.twice++
	}
	for l.prefix[p] < len(l.done[p]) && l.done[p][l.prefix[p]] > 0 {
		l.prefix[p]++
	}
}

// check compares what is committed with what is done.
func (l *ledger) check(d group.Description) (behind int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range d.Partitions {
		if p.Committed && int(p.Next) > l.prefix[p.Partition] {
			l.t.Errorf("partition %d: %d is committed, and all is done only before %d", p.Partition, p.Next, l.prefix[p.Partition])
		}
		behind += len(l.done[p.Partition]) - int(p.Next)
	}
	return behind
}

// stormProducer fills partitions with records of a few keys.
type stormProducer struct {
	*Producer
	ledger *ledger
	last   []map[int]int // offset of the newest record of a key, by partition
	random *rand.Rand
}

func (p *stormProducer) append(partition, n int) {
	l := p.ledger
	var all []Record
	for range n {
		key := p.random.IntN(5)
		before, found := p.last[partition][key]
		if !found {
			before = -1
		}
		l.mu.Lock()
		p.last[partition][key] = len(l.done[partition])
		l.done[partition] = append(l.done[partition], 0)
		l.mu.Unlock()
		all = append(all, Record{Key: strconv.AppendInt(nil, int64(key), 10), Value: strconv.AppendInt(nil, int64(before), 10), Time: NoTime})
	}
	if _, err := p.Append(context.Background(), partition, all); err != nil {
		l.t.Fatal(err)
	}
}

// TestARebalanceStorm: consumers come, go and die at random, while records come in.
// Every record is processed, those of a key in order; no partition has two owners
// at work; and no commit passes what is not done.
func TestARebalanceStorm(t *testing.T) {
	for _, assignor := range []group.Assignor{group.CooperativeSticky, group.Range} {
		for _, deaths := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, deaths %v", assignor, deaths), func(t *testing.T) {
				bubble(t, func(t *testing.T, s *System) { storm(t, s, assignor, deaths) })
			})
		}
	}
}

func storm(t *testing.T, s *System, assignor group.Assignor, deaths bool) {
	const partitions, consumers, minutes = 32, 20, 1
	ctx, random := context.Background(), rand.New(rand.NewPCG(1, uint64(assignor)))
	l := newLedger(t, partitions)
	p := &stormProducer{Producer: newProducer(t, declare(t, s, "orders", TopicConfig{Partitions: partitions}), ProducerOptions{}), ledger: l, random: random}
	for range partitions {
		p.last = append(p.last, map[int]int{})
	}
	o := ConsumerOptions{Concurrency: 4, Assignor: assignor, SessionTimeout: 6 * time.Second, CommitInterval: time.Second}
	handle := func(_ context.Context, d *Delivery) error {
		l.begin(d)
		time.Sleep(time.Duration(d.Offset%20) * time.Millisecond)
		l.end(d)
		return nil
	}
	g := testGroup(t, s)
	check := func() int {
		d, err := g.Describe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return l.check(d)
	}
	running := []*Consumer{startConsumer(t, s, o, handle)}
	events := 0
	for end := time.Now().Add(minutes * time.Minute); time.Now().Before(end); events++ {
		switch i := random.IntN(len(running)); {
		case len(running) < 2 || len(running) < consumers && random.IntN(2) == 0:
			running = append(running, startConsumer(t, s, o, handle))
		case deaths && random.IntN(4) == 0:
			s.Stop(running[i].pid)
			running = append(running[:i], running[i+1:]...)
		default:
			closeConsumerOK(t, running[i])
			running = append(running[:i], running[i+1:]...)
		}
		p.append(random.IntN(partitions), 1+random.IntN(20))
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		check()
	}
	time.Sleep(10 * o.SessionTimeout)
	if behind := check(); behind != 0 {
		t.Errorf("%d records are left over", behind)
	}
	records := 0
	for i, done := range l.done {
		records += len(done)
		for offset, times := range done {
			if times == 0 {
				t.Errorf("partition %d, offset %d was never processed", i, offset)
			}
		}
	}
	if !deaths && l.twice > 0 {
		t.Errorf("%d records were processed twice, and nobody died", l.twice)
	}
	t.Logf("%d events, %d records, %d of them more than once", events, records, l.twice)
	for _, c := range running {
		closeConsumerOK(t, c)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
