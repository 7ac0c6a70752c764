package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func full() Envelope {
	return Envelope{
		Queues: []uint32{0, 1, 7, math.MaxUint32}, Priority: 9, Expires: 1_790_000_000_000, Due: 1_780_000_000_000, Transient: true,
		Exchange: "orders", RoutingKey: "order.created", CC: []string{"audit", ""},
		MessageID: "m-1", CorrelationID: "c-1", ReplyTo: "replies", ContentType: "application/json", ContentEncoding: "gzip",
		Type: "order", UserID: "u", AppID: "shop", Timestamp: -1, Published: 1_770_000_000_000, Kinds: []byte{4, 2, 0},
		Deaths: []Death{
			{Queue: "email", Reason: 4, Count: 3, First: 1, Last: 2, Exchange: "orders", RoutingKeys: []string{"order.created", "audit"}, Attempts: 20, Error: "no such host"},
			{Queue: "retry", Reason: 2, Count: 1, First: 1, Last: 1},
		},
		Hops: 4, Origin: Origin{Queue: "email", Exchange: "orders", RoutingKey: "order.created", Log: 3, Offset: math.MaxUint64},
	}
}

// equal compares what users see of two envelopes.
func equal(a, b *Envelope) bool {
	x, y := *a, *b
	x.rest, y.rest = "", ""
	return fmt.Sprintf("%+v", x) == fmt.Sprintf("%+v", y)
}

func TestWhatIsAppendedIsDecoded(t *testing.T) {
	for name, e := range map[string]Envelope{"full": full(), "empty": {}, "one queue": {Queues: []uint32{5}, RoutingKey: "k"}} {
		b := Append(nil, &e)
		var got Envelope
		if err := got.Decode(b); err != nil || !equal(&got, &e) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAnEnvelopeIsSmall(t *testing.T) {
	e := Envelope{Queues: []uint32{200}, Exchange: "orders", RoutingKey: "order.created"}
	if n, way := len(Append(nil, &e)), len(e.Exchange)+len(e.RoutingKey); n > way+7 {
		t.Errorf("%d bytes beside exchange and key", n-way)
	}
}

func TestSingleIsHeadForOneQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Envelope{Queues: rapid.SliceOfNDistinct(rapid.Uint32(), 0, 2, func(id uint32) uint32 { return id }).Draw(t, "queues")}
		slices.Sort(e.Queues)
		e.Priority = uint8(rapid.IntRange(0, 1).Draw(t, "priority"))
		e.Transient = rapid.IntRange(0, 3).Draw(t, "transient") == 0
		e.AppID = rapid.SampledFrom([]string{"", "app"}).Draw(t, "app")
		e.Hops = rapid.IntRange(0, 1).Draw(t, "hops")
		b := Append(nil, &e)
		queue, is := Single(b)
		want := len(e.Queues) == 1 && e.Priority == 0 && !e.Transient
		if is != want || is && queue != e.Queues[0] {
			t.Fatalf("%+v is of the single queue %d: %v", e, queue, is)
		}
		for n := range b {
			if q, is := Single(b[:n]); is && q != e.Queues[0] {
				t.Fatalf("of the first %d bytes: %d", n, q)
			}
		}
	})
}

func TestTheRoutingKeyIsReadAlone(t *testing.T) {
	all := full()
	for want, e := range map[string]Envelope{"order.created": all, "k": {Queues: []uint32{5}, RoutingKey: "k"}, "": {Exchange: "orders"}} {
		b := Append(nil, &e)
		if got := RoutingKey(b); string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
		if n := testing.AllocsPerRun(10, func() { RoutingKey(b) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
	b := Append(nil, &all)
	for n := range b {
		if got := RoutingKey(b[:n]); got != nil && string(got) != "order.created" {
			t.Errorf("of %d bytes: %q", n, got)
		}
	}
}

func TestTheHeadIsThatOfTheEnvelope(t *testing.T) {
	e := full()
	var queues []uint32
	got, err := Head(Append(nil, &e), func(q uint32) { queues = append(queues, q) })
	want := Heading{Priority: 9, Expires: e.Expires, Due: e.Due, Transient: true}
	if err != nil || got != want || !slices.Equal(queues, e.Queues) {
		t.Errorf("%+v, queues %d, %v", got, queues, err)
	}
}

func TestTheHeadIsReadThoughTheRestIsCut(t *testing.T) {
	e := full()
	b := Append(nil, &e)
	var n int
	if _, err := Head(b[:len(b)-20], func(uint32) { n++ }); err != nil || n != len(e.Queues) {
		t.Errorf("%d queues, %v", n, err)
	}
}

func drawn(t *rapid.T) Envelope {
	text, when := rapid.StringN(0, 8, 20), rapid.Int64Range(-1, math.MaxInt64)
	var e Envelope
	for _, s := range []*string{&e.Exchange, &e.RoutingKey, &e.MessageID, &e.CorrelationID, &e.ReplyTo, &e.ContentType, &e.ContentEncoding,
		&e.Type, &e.UserID, &e.AppID} {
		if rapid.Bool().Draw(t, "has") {
			*s = text.Draw(t, "text")
		}
	}
	e.Queues = rapid.SliceOfNDistinct(rapid.Uint32(), 0, 5, rapid.ID).Draw(t, "queues")
	slices.Sort(e.Queues)
	e.Priority = rapid.Uint8Max(31).Draw(t, "priority")
	e.Transient = rapid.Bool().Draw(t, "transient")
	for _, at := range []*int64{&e.Expires, &e.Due, &e.Timestamp, &e.Published} {
		if rapid.Bool().Draw(t, "has") {
			*at = when.Draw(t, "time")
		}
	}
	e.CC = rapid.SliceOfN(text, 0, 3).Draw(t, "cc")
	e.Kinds = rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "kinds")
	for range rapid.IntRange(0, 3).Draw(t, "deaths") {
		e.Deaths = append(e.Deaths, Death{Queue: text.Draw(t, "queue"), Reason: rapid.Byte().Draw(t, "reason"), Count: rapid.IntRange(0, 1e6).Draw(t, "count"),
			First: when.Draw(t, "first"), Last: when.Draw(t, "last"), RoutingKeys: rapid.SliceOfN(text, 0, 2).Draw(t, "keys"),
			Error: text.Draw(t, "error")})
	}
	e.Hops = rapid.IntRange(0, 100).Draw(t, "hops")
	if rapid.Bool().Draw(t, "has") {
		e.Origin = Origin{Queue: text.Draw(t, "queue"), Log: rapid.Uint32().Draw(t, "log"), Offset: rapid.Uint64().Draw(t, "offset")}
	}
	return e
}

// One Envelope decodes a run of messages: nothing of an earlier one may show through.
func TestRandomEnvelopesOneAfterTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var got Envelope
		for range rapid.IntRange(1, 6).Draw(t, "messages") {
			e := drawn(t)
			b := Append(nil, &e)
			for range 2 { // the second time all behind the head is the same
				if err := got.Decode(b); err != nil || !equal(&got, &e) {
					t.Fatalf("got  %+v, %v\nwant %+v", got, err, e)
				}
			}
			for cut := range b {
				if err := new(Envelope).Decode(b[:cut]); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
				}
			}
		}
	})
}

func TestWhatIsWrongIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":              {nil, ErrCorrupt},
		"a newer version":      {[]byte{2, 0, 0}, ErrVersion},
		"a newer flag":         {append(number([]byte{1}, uint64(unknownFlag)), 0), ErrVersion},
		"more queues than can": {[]byte{1, 0, 200, 1, 1}, ErrCorrupt},
		"a queue too high":     {number(number([]byte{1, 0, 2}, math.MaxUint32), 0), ErrCorrupt},
		"something behind it":  {[]byte{1, 0, 0, 0}, ErrCorrupt},
		"a text too long":      {[]byte{1, byte(hasExchange), 0, 5, 'a'}, ErrCorrupt},
	} {
		if err := new(Envelope).Decode(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestLimitsAreKept(t *testing.T) {
	for name, e := range map[string]Envelope{
		"CC":     {CC: make([]string, MaxCC+1)},
		"deaths": {Deaths: make([]Death, MaxDeaths+1)},
		"kinds":  {Kinds: make([]byte, MaxKinds+1)},
	} {
		if err := new(Envelope).Decode(Append(nil, &e)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("more %s than there can be: %v", name, err)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	e := Envelope{Queues: []uint32{3, 4, 900}, Exchange: "orders", RoutingKey: "order.created", Priority: 3}
	b := make([]byte, 0, 256)
	var sum uint32
	var got Envelope
	if n := testing.AllocsPerRun(100, func() {
		b = Append(b[:0], &e)
		if _, err := Head(b, func(q uint32) { sum += q }); err != nil {
			t.Fatal(err)
		}
		if err := got.Decode(b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	e := full()
	f.Add(Append(nil, &e))
	f.Add(Append(nil, &Envelope{Queues: []uint32{1}, Exchange: "x", RoutingKey: "k"}))
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var e, again Envelope
		err := e.Decode(b)
		if _, headErr := Head(b, func(uint32) {}); err == nil && headErr != nil {
			t.Fatalf("the head of what can be decoded: %v", headErr)
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		stored := Append(nil, &e)
		if err := again.Decode(stored); err != nil || !equal(&e, &again) {
			t.Fatalf("%+v became %+v, %v", e, again, err)
		}
		if !bytes.Equal(stored, Append(nil, &again)) {
			t.Fatal("what is stored again differs")
		}
	})
}

func BenchmarkEnvelope(b *testing.B) {
	e := Envelope{Queues: []uint32{3}, Exchange: "orders", RoutingKey: "order.created"}
	stored := Append(nil, &e)
	b.Run("append", func(b *testing.B) {
		dst := make([]byte, 0, 256)
		b.ReportAllocs()
		for b.Loop() {
			dst = Append(dst[:0], &e)
		}
	})
	b.Run("head", func(b *testing.B) {
		b.ReportAllocs()
		var sum uint32
		for b.Loop() {
			Head(stored, func(q uint32) { sum += q })
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		var got Envelope
		for b.Loop() {
			got.Decode(stored)
		}
	})
}

func TestDeathsAreMergedByQueueAndReason(t *testing.T) {
	var e Envelope
	for i, queue := range []string{"a", "b", "a"} {
		e.Died(Death{Queue: queue, Reason: 1, Count: 1, First: int64(i), Last: int64(i)}, Origin{Queue: queue})
	}
	e.Died(Death{Queue: "a", Reason: 2, Count: 1}, Origin{Queue: "a"})
	var got []string
	for _, d := range e.Deaths {
		got = append(got, fmt.Sprint(d.Queue, d.Reason, " ", d.Count, d.First, d.Last))
	}
	if want := []string{"a2 1 0 0", "a1 2 0 2", "b1 1 1 1"}; !slices.Equal(got, want) || e.Hops != 4 || e.Origin.Queue != "a" {
		t.Errorf("%q, %d hops from %q", got, e.Hops, e.Origin.Queue)
	}
	for i := range 2 * MaxDeaths {
		e.Died(Death{Queue: fmt.Sprint(i), Count: 1}, Origin{})
	}
	if err := new(Envelope).Decode(Append(nil, &e)); err != nil || len(e.Deaths) != MaxDeaths {
		t.Errorf("%d deaths, %v", len(e.Deaths), err)
	}
}

// However many deaths a message has had, and however many keys, what it says of them can
// be read, and is bounded; the newest is there.
func TestHistoryIsBounded(t *testing.T) {
	keys := make([]string, MaxCC+1)
	for i := range keys {
		keys[i] = strings.Repeat("k", 255)
	}
	e := Envelope{RoutingKey: "key"}
	for i := range 3 * MaxDeaths {
		d := Death{Queue: fmt.Sprint("queue-", i), Reason: 1, Count: 1, Exchange: strings.Repeat("x", 255), RoutingKeys: keys[:1+i%8]}
		if i%5 == 0 {
			d.RoutingKeys = keys
		}
		e.Died(d, Origin{})
		b := Append(nil, &e)
		var got Envelope
		if err := got.Decode(b); err != nil {
			t.Fatal(err)
		}
		if len(b) > MaxHistory+4096 || got.Deaths[0].Queue != d.Queue || len(got.Deaths[0].RoutingKeys) == 0 {
			t.Fatalf("after %d deaths it has %d bytes, and died in %s last", i, len(b), got.Deaths[0].Queue)
		}
	}
	e = Envelope{}
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	e.Died(Death{Queue: "q", RoutingKeys: keys}, Origin{})
	if n := len(e.Deaths[0].RoutingKeys); n != MaxCC {
		t.Errorf("%d keys are kept", n)
	}
}
