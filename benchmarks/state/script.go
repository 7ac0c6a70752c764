package state

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/troupestream/troupe/topology"
)

// splits is the number of splits of the source. Each has keys of its own.
const splits = 2

// choice says which keys a scene updates.
type choice int

const (
	everyKey  choice = iota // one after the other
	randomKey               // any
	hotKey                  // any of a twentieth
)

// script is the source: what the benchmark has it send, scene after scene. It
// remembers all scenes, so that it can be read again from any position.
type script struct {
	keys int64
	base time.Time

	mu      sync.Mutex
	scenes  []scene
	changed chan struct{} // closed when a scene begins or ends
	read    [splits]int64 // how far each split was read
	resumed [splits]int64 // where the job of the moment began
}

// scene is a run of records of the same kind. Records of a split are numbered
// over all scenes.
type scene struct {
	keys       choice
	rate       float64 // records/s of a split; 0: as fast as they are taken
	began      int64   // in nanoseconds of the script
	start, end [splits]int64
}

func newScript(keys int) *script {
	return &script{keys: int64(keys), base: time.Now(), changed: make(chan struct{})}
}

// now is the time in nanoseconds of the script.
func (s *script) now() int64 { return int64(time.Since(s.base)) + 1 }

// begin begins a scene of n records of each split; negative: until end. rate is
// that of all splits.
func (s *script) begin(keys choice, n int64, rate float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := scene{keys: keys, rate: rate / splits, began: s.now()}
	if len(s.scenes) > 0 {
		c.start = s.scenes[len(s.scenes)-1].end
	}
	for k := range c.end {
		if c.end[k] = math.MaxInt64; n >= 0 {
			c.end[k] = c.start[k] + n
		}
	}
	s.scenes = append(s.scenes, c)
	s.wake()
}

// end ends a scene where its splits are, and returns how many records it had.
func (s *script) end() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.scenes[len(s.scenes)-1]
	for k := range c.end {
		c.end[k] = min(c.end[k], max(s.read[k], c.start[k]))
		n += c.end[k] - c.start[k]
	}
	s.wake()
	return n
}

func (s *script) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// sent is the number of records of all scenes, and how many of them the job of
// the moment gets to see.
func (s *script) sent() (all, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range splits {
		end := s.scenes[len(s.scenes)-1].end[k]
		all, now = all+end, now+end-s.resumed[k]
	}
	return all, now
}

// Splits implements topology.Source.
func (s *script) Splits(context.Context) ([]string, error) {
	ids := make([]string, splits)
	for k := range ids {
		ids[k] = strconv.Itoa(k)
	}
	return ids, nil
}

// Open implements topology.Source.
func (s *script) Open(_ context.Context, r topology.OpenRequest) (topology.SourceReader[Update], error) {
	k, err := strconv.Atoi(r.Split)
	at := int64(0)
	if err == nil && r.Position != nil {
		at, err = strconv.ParseInt(string(r.Position), 10, 64)
	}
	if err != nil {
		return nil, fmt.Errorf("split %q at %q: %w", r.Split, r.Position, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumed[k] = at
	return &reader{script: s, split: k, at: at}, nil
}

type reader struct {
	script *script
	split  int
	at     int64 // of the next record
}

// Read implements topology.SourceReader.
func (r *reader) Read(ctx context.Context, b *topology.Batch[Update], max int) error {
	for {
		c, n, changed, until := r.next(int64(max))
		if n > 0 {
			r.fill(b, &c, n)
			return nil
		}
		if err := sleep(ctx, changed, until); err != nil {
			return err
		}
	}
}

// next returns the scene at hand and how many of its records to send now; when
// none, what to wait for.
func (r *reader) next(most int64) (c scene, n int64, changed <-chan struct{}, until time.Duration) {
	s, k := r.script, r.split
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.scenes {
		if c = s.scenes[i]; r.at < c.end[k] {
			if n = min(most, c.end[k]-r.at); c.rate > 0 {
				n = min(n, c.due(s.now())-(r.at-c.start[k]))
			}
			s.read[k] = max(s.read[k], r.at+max(n, 0))
			return c, n, s.changed, time.Millisecond
		}
	}
	return c, 0, s.changed, time.Hour
}

// due is how many records are due.
func (c *scene) due(now int64) int64 { return int64(float64(now-c.began) * c.rate / 1e9) }

func (r *reader) fill(b *topology.Batch[Update], c *scene, n int64) {
	for range n {
		i := r.at - c.start[r.split]
		u := Update{Key: r.script.key(c.keys, i)*splits + int64(r.split)}
		if c.rate > 0 {
			u.At = c.began + int64(float64(i)*1e9/c.rate)
		}
		b.Values = append(b.Values, u)
		r.at++
	}
}

// key chooses among the keys of a split.
func (s *script) key(keys choice, i int64) int64 {
	own := s.keys / splits
	switch keys {
	case everyKey:
		return i % own
	case randomKey:
		return int64(mix(uint64(i)) % uint64(own))
	default:
		hot := max(own/20, 1)
		return int64(mix(uint64(i))%uint64(hot)) * (own / hot)
	}
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func sleep(ctx context.Context, changed <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (r *reader) Position() []byte { return strconv.AppendInt(nil, r.at, 10) }
func (r *reader) Lag() int64       { return -1 }
func (r *reader) Close() error     { return nil }
