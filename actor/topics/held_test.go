package topics

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/topology"
)

func exactlyOnce(incarnation uint64, states ...[]byte) topology.SinkOpen {
	return topology.SinkOpen{Job: "job", Sink: "out", Tasks: 1, Incarnation: incarnation, ExactlyOnce: true,
		Resumed: len(states) > 0, States: states}
}

// A job that dies in the middle of Commit has appended some of what it promised.
func TestHalfACommitIsCompleted(t *testing.T) {
	for _, hold := range []int{DefaultHoldBytes, 200} {
		ctx, sys := engine(t)
		topic := fresh[int]().Partitions(2).HoldBytes(hold)
		w := open(ctx, t, topic, exactlyOnce(1))
		put(ctx, t, w, 0, 1, 2, 3, 4, 5, 6, 7)
		state, err := w.Prepare(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		// The same records, appended to one partition only and in other pieces.
		handle, err := sys.Topic(ctx, topic.name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := handle.NewProducer(actor.ProducerOptions{ID: "job/out/0/1", Epoch: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range promised(ctx, t, w.(*heldWriter[int]), 1)[:3] {
			if _, err := p.Append(ctx, 1, []codec.Record{r}); err != nil {
				t.Fatal(err)
			}
		}
		for incarnation := range uint64(3) {
			open(ctx, t, topic, exactlyOnce(2+incarnation, state))
			got := contents(ctx, t, topic)
			slices.Sort(got)
			if !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7}) {
				t.Fatalf("hold %d, after %d recoveries: %d", hold, incarnation+1, got)
			}
		}
	}
}

// promised returns the records that a writer holds back for a partition.
func promised(ctx context.Context, t *testing.T, w *heldWriter[int], partition int) (all []codec.Record) {
	t.Helper()
	for i := range w.state.Transactions {
		err := w.state.Transactions[i].each(ctx, &w.staging, func(runs []run) error {
			for _, r := range runs {
				if r.Partition == partition {
					all = append(all, r.records...)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// The one that was replaced finds that it cannot append any more.
func TestOldWriterIsFenced(t *testing.T) {
	ctx, _ := engine(t)
	topic := fresh[int]()
	old := open(ctx, t, topic, exactlyOnce(1))
	put(ctx, t, old, 1)
	state, err := old.Prepare(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	put(ctx, t, old, 2)
	if _, err := old.Prepare(ctx, 2); err != nil {
		t.Fatal(err)
	}
	open(ctx, t, topic, exactlyOnce(2, state))
	if err := old.Commit(ctx, 2); !errors.Is(err, actor.ErrProducerFenced) {
		t.Errorf("the old writer's Commit returned %v, want ErrProducerFenced", err)
	}
	if got := contents(ctx, t, topic); !slices.Equal(got, []int{1}) {
		t.Errorf("the topic holds %d", got)
	}
}

func staged(t *testing.T, sys *actor.System) (names []string) {
	t.Helper()
	all, err := sys.Topics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range all {
		if strings.HasPrefix(info.Name, "staging-") {
			names = append(names, info.Name)
		}
	}
	return names
}

// What is staged is dropped once it is committed, and the staging topics of
// earlier starts go when there is a newer checkpoint.
func TestStagingIsTidied(t *testing.T) {
	ctx, sys := engine(t)
	topic := fresh[string]().HoldBytes(1000)
	other := exactlyOnce(1)
	other.Sink = "other"
	bystander := open(ctx, t, topic, other)
	put(ctx, t, bystander, strings.Repeat("b", 2000))

	var state []byte
	for incarnation := uint64(1); incarnation <= 3; incarnation++ {
		o := exactlyOnce(incarnation)
		if state != nil {
			o = exactlyOnce(incarnation, state)
		}
		w := open(ctx, t, topic, o)
		put(ctx, t, w, slices.Repeat([]string{strings.Repeat("s", 300)}, 10)...)
		var err error
		if state, err = w.Prepare(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if names := staged(t, sys); !slices.Contains(names, w.(*heldWriter[string]).staging.name) {
			t.Fatalf("nothing was staged: there are %q", names)
		}
		if incarnation == 2 {
			continue // dies before it commits
		}
		if err := w.Commit(ctx, 1); err != nil {
			t.Fatal(err)
		}
		staging, err := sys.Topic(ctx, w.(*heldWriter[string]).staging.name)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := staging.Bounds(ctx, 0); err != nil || b.First != b.Next {
			t.Errorf("after Commit the staging topic holds %+v, %v", b, err)
		}
		if names := staged(t, sys); len(names) != 2 {
			t.Errorf("there are staging topics %q, want that of the writer and of the other sink", names)
		}
	}
	if got := contents(ctx, t, topic); len(got) != 30 {
		t.Errorf("the topic holds %d records, want 30", len(got))
	}

	// A writer that ends leaves none, unless a checkpoint needs it.
	w := open(ctx, t, topic, exactlyOnce(4, state))
	put(ctx, t, w, slices.Repeat([]string{strings.Repeat("s", 300)}, 10)...)
	if _, err := w.Prepare(ctx, 2); err != nil {
		t.Fatal(err)
	}
	needed := w.(*heldWriter[string]).staging.name
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if names := staged(t, sys); !slices.Contains(names, needed) {
		t.Errorf("what a checkpoint needs is gone: there are %q", names)
	}
	w = open(ctx, t, topic, exactlyOnce(5, state))
	put(ctx, t, w, slices.Repeat([]string{strings.Repeat("s", 300)}, 10)...)
	if _, err := w.Prepare(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Commit(ctx, 3), w.Close(), bystander.Close()); err != nil {
		t.Fatal(err)
	}
	if names := staged(t, sys); len(names) != 0 {
		t.Errorf("there are staging topics %q, and nobody needs one", names)
	}
}

func TestWithoutCommitted(t *testing.T) {
	at := func(offsets ...uint64) (all []spilled) {
		for _, o := range offsets {
			all = append(all, spilled{Offset: o, Count: 10})
		}
		return all
	}
	all := []transaction{{Checkpoint: 1, Spills: at(0, 10)}, {Checkpoint: 2}, {Checkpoint: 3, Spills: at(20, 30)}, {Checkpoint: 4}}
	for oldest, want := range map[uint64][]transaction{
		0:  all,
		10: {{Checkpoint: 1, Spills: at(10)}, all[1], all[2], all[3]},
		20: {{Checkpoint: 1, Spills: at()}, all[1], all[2], all[3]},
		30: {{Checkpoint: 3, Spills: at(30)}, all[3]},
		40: {{Checkpoint: 3, Spills: at()}, all[3]},
	} {
		got := withoutCommitted(all, oldest)
		if len(got) != len(want) {
			t.Errorf("from %d: %+v, want %+v", oldest, got, want)
			continue
		}
		for i := range got {
			if got[i].Checkpoint != want[i].Checkpoint || !slices.Equal(got[i].Spills, want[i].Spills) {
				t.Errorf("from %d: transaction %d is %+v, want %+v", oldest, i, got[i], want[i])
			}
		}
	}
	if !reflect.DeepEqual(all[0].Spills, at(0, 10)) {
		t.Error("the transactions were changed")
	}
}

func TestForeignStateIsRefused(t *testing.T) {
	ctx, _ := engine(t)
	topic := fresh[int]()
	for _, state := range []string{"x", "{}", `{"version":2,"producer":"p","topic":"t"}`, `{"version":1,"producer":"p","topic":"t","more":1}`} {
		_, err := topic.Sink().Open(ctx, exactlyOnce(2, []byte(state)))
		requireError(t, err, "start the job afresh")
	}
	damaged := `{"version":1,"producer":"p","topic":"` + topic.name + `","transactions":[{"checkpoint":1,"inline":[{"partition":0,"first":0,"batch":"AAAA"}]}]}`
	_, err := topic.Sink().Open(ctx, exactlyOnce(2, []byte(damaged)))
	requireError(t, err, "what the checkpoint promised", "corrupt")
	gone := `{"version":1,"producer":"p","topic":"gone","transactions":[{"checkpoint":1}]}`
	_, err = topic.Sink().Open(ctx, exactlyOnce(2, []byte(gone)))
	requireError(t, err, "topic gone")
}
