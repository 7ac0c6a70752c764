package telemetry

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/troupestream/troupe/internal/dataflow"
)

// Sampler decides at a source which records begin a trace. It draws how many
// records to pass over until the next one, so a record that is not chosen
// costs nothing; and it begins no more traces a second than its limit allows,
// because a share of a fast stream is still more than anybody can store: 1 % of
// ten million records a second would spend most of a core on spans. One
// goroutine uses it. A nil *Sampler chooses none.
type Sampler struct {
	skip   int     // records to pass over before the next one chosen
	log    float64 // ln(1-ratio)
	rng    *rand.Rand
	budget budget
}

// budget is a token bucket that holds up to one second's worth.
type budget struct {
	perSecond float64
	tokens    float64
	at        int64 // when tokens were last added, Unix milliseconds
}

func (b *budget) refill(now int64) {
	if elapsed := now - b.at; elapsed > 0 {
		b.tokens = min(b.perSecond, b.tokens+float64(elapsed)*b.perSecond/1e3)
	}
	b.at = now // also when the clock was set back
}

func (b *budget) take() bool {
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// Sampler returns a sampler for a source. nil when the tracer is off or its
// ratio is 0. The seed makes its choices repeatable.
func (t *Tracer) Sampler(seed uint64) *Sampler {
	if t == nil || t.ratio <= 0 {
		return nil
	}
	s := &Sampler{
		log:    math.Log1p(-t.ratio),
		rng:    rand.New(rand.NewPCG(seed, 0x7472_6f75_7065)),
		budget: budget{perSecond: t.perSecond, tokens: t.perSecond},
	}
	s.skip = s.gap()
	return s
}

// gap draws the length of a run of records that are not chosen: with each
// record chosen independently with probability p, it is geometric, and
// floor(ln U / ln(1-p)) for U uniform in (0, 1] has that distribution
// (Devroye, Non-Uniform Random Variate Generation, chapter X.2).
func (s *Sampler) gap() int {
	const longest = math.MaxInt32 // a ratio of 1e-9 or less need not be exact
	u := 1 - s.rng.Float64()
	return int(min(math.Log(u)/s.log, longest))
}

// Sample chooses among the n records of a batch, and gives each chosen one a
// span of the site. A record that brought a context along keeps it, and with it
// the decision of whoever made that, sampled or not. now is in Unix milliseconds;
// one reading of the clock per batch is enough.
func (s *Sampler) Sample(create *Site, c *dataflow.Columns, n int, now int64) {
	if s == nil {
		return
	}
	if s.skip >= n {
		s.skip -= n
		return
	}
	s.budget.refill(now)
	old := len(c.Traces)
	i := s.skip
	for ; i < n; i += 1 + s.gap() {
		if !carries(c.Traces[:old], i) && s.budget.take() {
			create.create(c, i)
		}
	}
	s.skip = i - n
	if old > 0 && len(c.Traces) > old {
		slices.SortFunc(c.Traces, func(a, b dataflow.Trace) int { return a.Index - b.Index })
	}
}

// carries says whether record i has a context; traces are sorted by index.
func carries(traces []dataflow.Trace, i int) bool {
	_, found := slices.BinarySearchFunc(traces, i, func(t dataflow.Trace, i int) int { return t.Index - i })
	return found
}

// create gives record i a span of its own.
func (s *Site) create(c *dataflow.Columns, i int) {
	_, span := s.tracer.Start(context.Background(), s.name, s.kind, s.attributes)
	span.End()
	if sc := span.SpanContext(); sc.IsSampled() {
		c.Traces = append(c.Traces, dataflow.Trace{Index: i, Context: FromSpanContext(sc)})
	}
}
