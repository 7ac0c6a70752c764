package topics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/topology"
)

// staging is a topic where a writer puts records that wait for a checkpoint and
// are too many for its memory. It is declared when the first ones come.
//
// A spill is one append: for each run a marker that describes it, and then its
// records as they will be in the end.
type staging struct {
	sys        *actor.System
	name       string
	durability actor.Durability
	topic      *actor.Topic
	producer   *actor.Producer
}

// spilled says where a spill is.
type spilled struct {
	Offset uint64 `json:"offset"`
	Count  int    `json:"count"`
}

const markerKey = "troupe-run"

// stagingPrefix begins the names of the staging topics of a sink. Names of jobs
// and sinks may be long and may contain dashes, hence the hash.
func stagingPrefix(o topology.SinkOpen) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s", o.Job, o.Sink)
	return fmt.Sprintf("staging-%016x-", h.Sum64())
}

// stagingName is of this writer in this start of the job only: what an older
// one still puts into its own harms nobody.
func stagingName(o topology.SinkOpen) string {
	return fmt.Sprintf("%s%d-%d", stagingPrefix(o), o.Task, o.Incarnation)
}

// dropOlder deletes the staging topics of earlier starts of the job.
func dropOlder(ctx context.Context, sys *actor.System, o topology.SinkOpen) error {
	all, err := sys.Topics(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		rest, ours := strings.CutPrefix(t.Name, stagingPrefix(o))
		_, incarnation, _ := strings.Cut(rest, "-")
		if n, err := strconv.ParseUint(incarnation, 10, 64); !ours || err != nil || n >= o.Incarnation {
			continue
		}
		if err := sys.DeleteTopic(ctx, t.Name); err != nil && !errors.Is(err, actor.ErrNoTopic) {
			return err
		}
	}
	return nil
}

// used returns the name of the topic if there is anything in it.
func (s *staging) used() string {
	if s.topic == nil {
		return ""
	}
	return s.name
}

// put appends runs, and returns when they are as durable as the topic that they
// are meant for.
func (s *staging) put(ctx context.Context, runs []run) (spilled, error) {
	if s.producer == nil {
		t, err := s.sys.Declare(ctx, s.name, actor.TopicConfig{Partitions: 1, Durability: s.durability,
			Retention: actor.Retention{Forever: true}}) // it is trimmed by whoever puts something there
		if err != nil {
			return spilled{}, err
		}
		p, err := t.NewProducer(actor.ProducerOptions{})
		if err != nil {
			return spilled{}, err
		}
		s.topic, s.producer = t, p
	}
	var records []codec.Record
	for _, r := range runs {
		r.Count = len(r.records)
		marker, err := json.Marshal(r)
		if err != nil {
			return spilled{}, err
		}
		records = append(records, codec.Record{Key: []byte(markerKey), Value: marker, Time: codec.NoTime})
		records = append(records, r.records...)
	}
	ack, err := s.producer.Append(ctx, 0, records)
	if err != nil {
		return spilled{}, fmt.Errorf("records that wait for a checkpoint cannot be staged: %w", err)
	}
	return spilled{ack.Offset, len(records)}, nil
}

// first returns the offset of the oldest spill that is still there. Spills are
// dropped in order, and only once they were committed; a topic that is gone has
// none left.
func (s *staging) first(ctx context.Context) (uint64, error) {
	if s.name == "" {
		return 0, nil
	}
	if s.topic == nil {
		t, err := s.sys.Topic(ctx, s.name)
		if errors.Is(err, actor.ErrNoTopic) {
			return math.MaxUint64, nil
		}
		if err != nil {
			return 0, err
		}
		s.topic = t
	}
	bounds, err := s.topic.Bounds(ctx, 0)
	return bounds.First, err
}

// get reads a spill.
func (s *staging) get(ctx context.Context, at spilled) ([]run, error) {
	reader, err := s.topic.OpenReader(ctx, 0, actor.FromOffset(at.Offset))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return readRuns(ctx, reader, at.Count)
}

func readRuns(ctx context.Context, reader *actor.Reader, count int) (runs []run, err error) {
	for left := count; left > 0; {
		batch, err := reader.Next(ctx)
		if err != nil {
			return nil, err
		}
		for r := (codec.Record{}); left > 0 && batch.Next(&r); left-- {
			if runs, err = collect(runs, r); err != nil {
				return nil, err
			}
			r.Headers = nil // the next record must not write over these
		}
		if err := batch.Err(); err != nil {
			return nil, err
		}
	}
	if n := len(runs); n > 0 && len(runs[n-1].records) != runs[n-1].Count {
		return nil, errMarkers
	}
	return runs, nil
}

var errMarkers = errors.New("the staging topic does not hold what the checkpoint put there")

// collect adds a record to the run that it belongs to: a marker when the last
// run is complete, and otherwise one of its records, whatever its key.
func collect(runs []run, r codec.Record) ([]run, error) {
	if n := len(runs); n > 0 && len(runs[n-1].records) < runs[n-1].Count {
		runs[n-1].records = append(runs[n-1].records, r)
		return runs, nil
	}
	var marker run
	if err := json.Unmarshal(r.Value, &marker); err != nil || string(r.Key) != markerKey || marker.Count < 1 {
		return nil, errMarkers
	}
	return append(runs, marker), nil
}

// drop deletes the topic, of which nothing is needed any more.
func (s *staging) drop() error {
	if s.topic == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if err := s.sys.DeleteTopic(ctx, s.name); err != nil && !errors.Is(err, actor.ErrNoTopic) {
		return err
	}
	return nil
}

// trim drops what lies below the first spill of the transactions that wait; if
// there is none, everything.
func (s *staging) trim(ctx context.Context, waiting []transaction) error {
	if s.topic == nil {
		return nil
	}
	bounds, err := s.topic.Bounds(ctx, 0)
	if err != nil {
		return err
	}
	before := bounds.Next
	for i := range waiting {
		for _, at := range waiting[i].Spills {
			before = min(before, at.Offset)
		}
	}
	if before <= bounds.First {
		return nil
	}
	_, err = s.topic.Trim(ctx, 0, before)
	return err
}
