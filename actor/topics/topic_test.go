package topics

import (
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/dataflow"
	"github.com/troupestream/troupe/internal/partitioner"
	"github.com/troupestream/troupe/topology"
)

func TestKeysChoosePartitions(t *testing.T) {
	ctx, _ := engine(t)
	topic := fresh[string]().Partitions(4).KeyedBy(func(s string) []byte {
		if strings.HasPrefix(s, "-") {
			return nil
		}
		return []byte(s)
	})
	w := open(ctx, t, topic, topology.SinkOpen{})
	put(ctx, t, w, "foobar", "-0", "21", "-1", "foobar", "-2", "-3", "")
	if _, err := w.Prepare(ctx, 1); err != nil {
		t.Fatal(err)
	}
	want := make([][]string, 4)
	for i, keyless := range []string{"-0", "-1", "-2", "-3"} {
		want[i] = append(want[i], keyless)
	}
	for _, keyed := range []string{"foobar", "21", "foobar", ""} {
		p := partitioner.Keyed([]byte(keyed), 4)
		want[p] = append(want[p], keyed)
	}
	for p, split := range []string{"0", "1", "2", "3"} {
		got := partition(ctx, t, topic, split).Values
		slices.Sort(got)
		slices.Sort(want[p])
		if !slices.Equal(got, want[p]) {
			t.Errorf("partition %d has %q, want %q", p, got, want[p])
		}
	}
}

func TestTimesAndTracesComeAlong(t *testing.T) {
	ctx, _ := engine(t)
	sampled := dataflow.TraceContext{TraceID: [16]byte{1}, SpanID: [8]byte{2}, Flags: 1, State: "a=b"}
	for name, exactlyOnce := range map[string]bool{"immediate": false, "held": true} {
		t.Run(name, func(t *testing.T) {
			topic := fresh[string]()
			w := open(ctx, t, topic, topology.SinkOpen{ExactlyOnce: exactlyOnce})
			b := &topology.Batch[string]{Values: []string{"a", "b", "c"}}
			b.Times = []int64{dataflow.NoTime, 17, -3}
			b.Traces = []dataflow.Trace{{Index: 1, Context: sampled}, {Index: 2, Context: dataflow.TraceContext{TraceID: [16]byte{9}, SpanID: [8]byte{9}}}}
			if err := w.Write(ctx, b); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Prepare(ctx, 1); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(ctx, 1); err != nil {
				t.Fatal(err)
			}
			got := partition(ctx, t, topic, "0")
			if !reflect.DeepEqual(got.Times, b.Times) {
				t.Errorf("the times are %d, want %d", got.Times, b.Times)
			}
			// Also that of the third, which is not sampled: nobody is to begin another.
			if !reflect.DeepEqual(got.Traces, b.Traces) {
				t.Errorf("the traces are %+v, want %+v", got.Traces, b.Traces)
			}
		})
	}
}

func TestStartsAndEnds(t *testing.T) {
	ctx, sys := engine(t)
	topic := fresh[int]()
	w := open(ctx, t, topic, topology.SinkOpen{})
	put(ctx, t, w, 0, 1, 2, 3, 4)
	if _, err := w.Prepare(ctx, 1); err != nil {
		t.Fatal(err)
	}
	read := func(topic Topic[int], r topology.OpenRequest) []int {
		t.Helper()
		r.Split, r.Until.End = "0", true
		reader, err := topic.Source().Open(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		b := new(topology.Batch[int])
		for err == nil {
			err = reader.Read(ctx, b, 2+b.Len())
		}
		return b.Values
	}
	hourAgo, inAnHour := time.Now().Add(-time.Hour).UnixMilli(), time.Now().Add(time.Hour).UnixMilli()
	for _, c := range []struct {
		start topology.Start
		until topology.Until
		want  []int
	}{
		{want: []int{0, 1, 2, 3, 4}},
		{start: topology.Start{Kind: dataflow.StartBeginning}, until: topology.Until{Offset: 2}, want: []int{0, 1}},
		{start: topology.Start{Kind: dataflow.StartOffset, Offset: 3}, want: []int{3, 4}},
		{start: topology.Start{Kind: dataflow.StartEnd}},
		{start: topology.Start{Kind: dataflow.StartTime, Time: hourAgo}, want: []int{0, 1, 2, 3, 4}},
		{start: topology.Start{Kind: dataflow.StartTime, Time: inAnHour}},
		{until: topology.Until{Time: hourAgo}},
	} {
		if got := read(topic, topology.OpenRequest{Start: c.start, Until: c.until}); !slices.Equal(got, c.want) {
			t.Errorf("from %+v until %+v: %d, want %d", c.start, c.until, got, c.want)
		}
	}
	if got := read(topic.StartingAt(topology.Start{Kind: dataflow.StartOffset, Offset: 4}), topology.OpenRequest{}); !slices.Equal(got, []int{4}) {
		t.Errorf("with a start of its own: %d", got)
	}

	for _, r := range []struct {
		topology.OpenRequest
		says string
	}{
		{topology.OpenRequest{Split: "1"}, `no partition "1"`},
		{topology.OpenRequest{Split: "0", Position: []byte("x")}, "is not an offset"},
		{topology.OpenRequest{Split: "0", Position: []byte("1@x")}, "is not an offset"},
		{topology.OpenRequest{Split: "0", Position: []byte("99")}, "start the job afresh"},
		{topology.OpenRequest{Split: "0", Position: []byte("1@9999")}, "was made anew"},
		{topology.OpenRequest{Split: "0", Start: topology.Start{Kind: dataflow.StartOffset, Offset: -1}}, "offset -1"},
		{topology.OpenRequest{Split: "0", Until: topology.Until{Offset: -1}}, "offset -1"},
		{topology.OpenRequest{Split: "0", Until: topology.Until{Time: inAnHour}}, "has not come yet"},
	} {
		_, err := topic.Source().Open(ctx, r.OpenRequest)
		requireError(t, err, topic.name, r.says)
	}
	_ = sys
}

// A job ends where the topic says, also if that has yet to come, and no later than
// asked for besides.
func TestEndingAt(t *testing.T) {
	ctx, sys := engine(t)
	topic := fresh[int]().Partitions(3)
	p, err := topic.NewProducer(ctx, testEngine{sys})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	publish := func(v int) {
		for i := range 3 {
			if f, err := p.PublishTo(ctx, i, Message[int]{Value: v}); err != nil {
				t.Fatal(err)
			} else if _, err = f.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(0)
	var readers []topology.SourceReader[int]
	for split, r := range []topology.OpenRequest{{Split: "0"}, {Split: "1", Until: topology.Until{Offset: 1}}, {Split: "2"}} {
		reader, err := topic.EndingAt(2, 2).Source().Open(ctx, r)
		if err != nil {
			t.Fatal(split, err)
		}
		defer reader.Close()
		readers = append(readers, reader)
	}
	for v := range 4 {
		publish(v + 1)
	}
	for i, want := range [][]int{{0, 1}, {0}, nil} {
		var b topology.Batch[int]
		var err error
		for err == nil {
			err = readers[i].Read(ctx, &b, 100)
		}
		if err != io.EOF || !slices.Equal(b.Values, want) {
			t.Errorf("partition %d: %v, %v, want %v", i, b.Values, err, want)
		}
	}
}

func TestUndecodableRecordIsNamed(t *testing.T) {
	ctx, _ := engine(t)
	topic := fresh[int]()
	w := open(ctx, t, Of[string](topic.name), topology.SinkOpen{})
	put(ctx, t, w, "no number")
	if _, err := w.Prepare(ctx, 1); err != nil {
		t.Fatal(err)
	}
	r, err := topic.Source().Open(ctx, topology.OpenRequest{Split: "0"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var flaw *topology.RecordError
	if err := r.Read(ctx, new(topology.Batch[int]), 5); !errors.As(err, &flaw) {
		t.Fatalf("got %v", err)
	}
	if want := "topic " + topic.name + ", partition 0, offset 0"; flaw.Where != want || len(flaw.Raw) == 0 {
		t.Errorf("the error is %+v, want it at %s", flaw, want)
	}
	if !strings.HasPrefix(string(r.Position()), "1@") || r.Lag() != 0 {
		t.Errorf("the position is %s, the lag %d", r.Position(), r.Lag())
	}
}

func TestDeclarations(t *testing.T) {
	ctx, sys := engine(t)
	topic := fresh[int]()
	if _, err := topic.Partitions(3).Compression(actor.S2).Source().Splits(ctx); err != nil {
		t.Fatal(err)
	}
	// Whoever does not say takes what there is.
	splits, err := topic.Source().Splits(ctx)
	if err != nil || len(splits) != 3 {
		t.Errorf("splits %q, %v", splits, err)
	}
	_, err = topic.Partitions(2).Source().Splits(ctx)
	requireError(t, err, topic.name, "it has partitions 3, not 2")
	if !errors.Is(err, actor.ErrConflict) {
		t.Errorf("%v is not ErrConflict", err)
	}
	_, err = fresh[int]().Partitions(0).Source().Splits(ctx)
	requireError(t, err, "there must be 1 to")

	plain := fresh[int]().Durability(actor.Memory)
	open(ctx, t, plain, topology.SinkOpen{})
	handle, err := sys.Topic(ctx, plain.name)
	if err != nil || handle.Config().Durability != actor.Memory || handle.Partitions() != 1 {
		t.Errorf("declared as %+v, %v", handle.Config(), err)
	}
	for _, hold := range []int{0, 3 << 20} {
		_, err = plain.HoldBytes(hold).Sink().Open(ctx, topology.SinkOpen{Sink: "out"})
		requireError(t, err, "HoldBytes")
	}
}

// Who forgets AsJSON is told, and nobody else is.
func TestMisread(t *testing.T) {
	ctx, sys := engine(t)
	topic := fresh[order]()
	w := open(ctx, t, topic.AsJSON(), topology.SinkOpen{})
	put(ctx, t, w, nth(3))
	if _, err := w.Prepare(ctx, 1); err != nil {
		t.Fatal(err)
	}
	r := newReader(ctx, t, sys, topic, UntilEnd())
	_, err := r.Next(ctx)
	requireError(t, err, "describe the topic with AsJSON")
	r.Close()
	in, err := topic.Source().Open(ctx, topology.OpenRequest{Split: "0"})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	requireError(t, in.Read(ctx, new(topology.Batch[order]), 5), "describe the topic with AsJSON")
	n := newReader(ctx, t, sys, Of[int](topic.name).AsJSON(), UntilEnd())
	defer n.Close()
	if _, err := n.Next(ctx); !errors.Is(err, ErrUndecodable) || strings.Contains(err.Error(), "AsJSON") {
		t.Errorf("JSON of another type: %v", err)
	}
}

// What others have written as it is, is read as it is: msgpack is for values.
func TestBytesAndText(t *testing.T) {
	ctx, sys := engine(t)
	lines := Text(fresh[string]().name)
	p, err := lines.NewProducer(ctx, systemOf{sys})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Send(ctx, "a line"); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	r := newReader(ctx, t, sys, Bytes(lines.name), UntilEnd())
	if e, err := r.Next(ctx); err != nil || string(e.Value) != "a line" || string(e.Record.Value) != "a line" {
		t.Errorf("as bytes it is %q, %v", e.Value, err)
	}
	r.Close()
}

func TestWithoutEngine(t *testing.T) {
	topic := Of[int]("orders")
	_, err := topic.NewProducer(t.Context(), nil)
	requireError(t, err, "topic orders", "the engine is nil")
	_, err = topic.NewConsumer(t.Context(), nil, "mailers", func(context.Context, *Delivery[int]) error { return nil })
	requireError(t, err, "topic orders", "the engine is nil")
	_, splits := topic.Source().Splits(t.Context())
	_, read := topic.Source().Open(t.Context(), topology.OpenRequest{})
	_, write := topic.Sink().Open(t.Context(), topology.SinkOpen{})
	for _, err := range []error{splits, read, write} {
		requireError(t, err, "topic orders", "needs an engine")
		if !errors.Is(err, ErrNoEngine) {
			t.Errorf("%v is not ErrNoEngine", err)
		}
	}
}

func TestJSONCodec(t *testing.T) {
	ctx, _ := engine(t)
	topic := fresh[order]().AsJSON()
	w := open(ctx, t, topic, topology.SinkOpen{})
	put(ctx, t, w, nth(3))
	if _, err := w.Prepare(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if got := contents(ctx, t, Of[map[string]any](topic.name).AsJSON()); len(got) != 1 || got[0]["Note"] != "xxx" {
		t.Errorf("got %v", got)
	}
}

func TestRetentionOfATopic(t *testing.T) {
	ctx, sys := engine(t)
	topic := fresh[int]()
	for _, c := range []struct {
		topic Topic[int]
		want  actor.Retention
		err   error
	}{
		{topic, actor.Retention{Age: actor.DefaultRetention}, nil},
		{topic.Retention(actor.Retention{Forever: true}), actor.Retention{}, actor.ErrConflict},
		{topic.Retention(actor.Retention{Age: actor.DefaultRetention}), actor.Retention{Age: actor.DefaultRetention}, nil},
	} {
		if _, err := c.topic.Source().Splits(ctx); !errors.Is(err, c.err) {
			t.Fatalf("got %v, want %v", err, c.err)
		}
		if c.err != nil {
			continue
		}
		has, err := sys.Topic(ctx, topic.name)
		if err != nil || has.Config().Retention != c.want {
			t.Errorf("it keeps %v, %v; want %v", has.Config().Retention, err, c.want)
		}
	}
}

// Whoever sets nothing takes what there is; whoever sets something else is told in
// what it differs.
func TestSettingsOfATopic(t *testing.T) {
	ctx, sys := engine(t)
	compacted := actor.Compaction{Enabled: true, MinCleanableDirtyRatio: 0.3}
	topic := fresh[int]()
	if _, err := topic.Compaction(compacted).KeyIndex().Timestamps(actor.LogAppendTime).Source().Splits(ctx); err != nil {
		t.Fatal(err)
	}
	has, err := sys.Topic(ctx, topic.name)
	if err != nil {
		t.Fatal(err)
	}
	config := has.Config()
	if c := config.Compaction; !c.Enabled || c.MinCleanableDirtyRatio != 0.3 || c.DeleteRetention != actor.DefaultDeleteRetention {
		t.Errorf("compaction is %+v", c)
	}
	if !config.KeyIndex || config.Timestamps != actor.LogAppendTime || !config.Retention.Forever && config.Retention != (actor.Retention{}) {
		t.Errorf("it is %+v", config)
	}
	plain := fresh[int]()
	if _, err := plain.Source().Splits(ctx); err != nil {
		t.Fatal(err)
	}
	for says, other := range map[string]Topic[int]{
		"": topic.Compaction(compacted).KeyIndex().Timestamps(actor.LogAppendTime),
		"it has compaction delete-retention 24h0m0s, dirty-ratio 0.3, not none":                                      topic.Compaction(actor.Compaction{}),
		"it has compaction delete-retention 24h0m0s, dirty-ratio 0.3, not delete-retention 24h0m0s, dirty-ratio 0.5": topic.Compaction(actor.Compaction{Enabled: true}),
		"it has timestamps append, not create":                                                                       topic.Timestamps(actor.CreateTime),
		"it has key index false, not true":                                                                           plain.KeyIndex(),
		"it has compaction none, not delete-":                                                                        plain.Compaction(compacted),
		"it has timestamps create, not append":                                                                       plain.Timestamps(actor.LogAppendTime),
		"a compaction that is not enabled":                                                                           plain.Compaction(actor.Compaction{MinCompactionLag: time.Second}),
	} {
		_, err := other.Source().Splits(ctx)
		switch {
		case says == "" && err != nil:
			t.Errorf("the same again: %v", err)
		case says != "":
			requireError(t, err, other.name, says)
		}
	}
}
