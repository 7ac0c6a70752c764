package actor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pactor "github.com/asynkron/protoactor-go/actor"

	"github.com/troupestream/troupe/internal/codec"
)

// Unknown is a Lag's CatchUp when it cannot be told, or is never: nobody works on
// the partition, or not faster than records come in.
const Unknown = time.Duration(-1)

// PartitionLag is how far a group is behind in a partition.
type PartitionLag struct {
	TopicPartition
	Owner string // member id; "": nobody
	// Deleted: the topic is no more. The group still has its offset, and there is
	// nothing to process.
	Deleted bool
	// Next is the offset of the first record that is not processed: as its owner
	// knows it, else as it was committed. If nothing was, it is the first there is.
	Next      uint64
	Committed bool // something was
	End       uint64
	Records   uint64 // not processed
	// Age is how long ago the first of them arrived; 0 when there is none.
	Age time.Duration
	// Rate is how many records a second are processed, over the last quarter of a
	// minute or so, and Arrivals how many came in, over the time that is Age.
	Rate, Arrivals float64
	// CatchUp is when, at these rates, nothing will be left; or Unknown.
	CatchUp time.Duration
}

// Lag is how far a group is behind: Records in all partitions together, Age and
// CatchUp of the worst.
type Lag struct {
	Partitions []PartitionLag
	Records    uint64
	Age        time.Duration
	CatchUp    time.Duration
}

// lagPatience is how long a member is waited for that is asked where it stands.
const lagPatience = time.Second

// Lag measures how far the group is behind, in all topics that it knows. It needs
// no members.
func (g *Group) Lag(ctx context.Context) (Lag, error) {
	d, err := g.Describe(ctx)
	if err != nil {
		return Lag{}, err
	}
	stands, err := g.stands(ctx)
	if err != nil {
		return Lag{}, err
	}
	var all Lag
	topics := map[string]*Topic{}
	for _, p := range d.Partitions {
		one := PartitionLag{TopicPartition: TopicPartition{p.Topic, p.Partition}, Owner: p.Owner, Next: p.Next, Committed: p.Committed}
		if s, ok := stands[one.TopicPartition]; ok && s.epoch == p.Epoch {
			one.Next, one.Rate = s.next, s.rate
		}
		t, known := topics[p.Topic]
		if !known {
			if t, err = g.sys.Topic(ctx, p.Topic); err != nil && !errors.Is(err, ErrNoTopic) {
				return Lag{}, fmt.Errorf("lag of group %s: %w", g.name, err)
			}
			topics[p.Topic] = t
		}
		if one.Deleted = t == nil; one.Deleted {
			one.End = one.Next
		} else if err := one.measure(ctx, t); err != nil {
			return Lag{}, fmt.Errorf("lag of group %s: topic %s, partition %d: %w", g.name, p.Topic, p.Partition, err)
		}
		all.add(one)
	}
	return all, nil
}

func (l *Lag) add(p PartitionLag) {
	l.Partitions = append(l.Partitions, p)
	l.Records += p.Records
	l.Age = max(l.Age, p.Age)
	if p.CatchUp == Unknown || l.CatchUp == Unknown {
		l.CatchUp = Unknown
	} else {
		l.CatchUp = max(l.CatchUp, p.CatchUp)
	}
}

// measure fills in what the partition itself tells.
func (p *PartitionLag) measure(ctx context.Context, t *Topic) error {
	b, err := t.Bounds(ctx, p.Partition)
	if err != nil {
		return err
	}
	if p.End = b.Next; max(p.Next, b.First) < b.Next {
		first, arrived, err := t.appendTime(ctx, p.Partition, max(p.Next, b.First))
		if err != nil {
			return err
		}
		p.Records = b.Next - min(first, b.Next)
		p.Age = max(0, time.Since(time.UnixMilli(arrived)))
	}
	p.Next = max(p.Next, b.First)
	p.estimate()
	return nil
}

func (p *PartitionLag) estimate() {
	if p.Age > 0 {
		p.Arrivals = float64(p.Records) / p.Age.Seconds()
	}
	switch {
	case p.Records == 0:
		p.CatchUp = 0
	case p.Rate <= p.Arrivals:
		p.CatchUp = Unknown
	default:
		p.CatchUp = time.Duration(float64(p.Records) / (p.Rate - p.Arrivals) * float64(time.Second))
	}
}

// appendTime returns when the record at an offset arrived, in Unix ms. If it was
// trimmed by now, that is the first there is.
func (t *Topic) appendTime(ctx context.Context, partition int, offset uint64) (at uint64, millis int64, err error) {
	ref, err := t.partition(partition)
	if err != nil {
		return 0, 0, err
	}
	for {
		data, err := t.batchAt(ctx, ref, offset)
		var gone *OffsetError
		if errors.As(err, &gone) && gone.First > offset {
			if offset = gone.First; offset < gone.Next {
				continue
			}
			return offset, time.Now().UnixMilli(), nil
		}
		if err != nil {
			return 0, 0, err
		}
		info, err := codec.ReadInfo(data, codec.DefaultLimits())
		if err == nil && info.Sparse {
			info.AppendTime, err = sparseTime(data, offset)
		}
		return offset, info.AppendTime, err
	}
}

// sparseTime is when the first record from an offset on arrived, of a batch whose records
// come from several: it was compacted.
func sparseTime(data []byte, offset uint64) (int64, error) {
	var b codec.Batch
	if err := b.Open(data, codec.DefaultLimits()); err != nil {
		return 0, err
	}
	var r codec.Record
	for at := b.Offset(); b.Next(&r); at = b.Offset() {
		if at >= offset {
			return b.Appended(), nil
		}
	}
	return b.Info.AppendTime, b.Err()
}

// laneStand is where a consumer stands in a partition.
type laneStand struct {
	TopicPartition
	epoch uint64 // of its ownership
	next  uint64
	rate  float64
}

// stands asks the members where they stand. Those that do not answer are left out:
// what they have committed is known.
func (g *Group) stands(ctx context.Context) (map[TopicPartition]laneStand, error) {
	members, err := Ask[[]*pactor.PID](ctx, g.sys, g.pid, askMembers{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lagPatience)
	defer cancel()
	answers := make([][]laneStand, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		all.Go(func() { answers[i], _ = Ask[[]laneStand](ctx, g.sys, m, askStands{}) })
	}
	all.Wait()
	stands := map[TopicPartition]laneStand{}
	for _, one := range answers {
		for _, s := range one {
			stands[s.TopicPartition] = s
		}
	}
	return stands, nil
}
