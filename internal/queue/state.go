package queue

import (
	"cmp"
	"fmt"
	"slices"
)

// Queue is the state of a queue. It is not safe for concurrent use.
type Queue struct {
	config Config
	feeds  []*feed // by log

	// What is in the queue, and what has become of everything that was.
	count  Counts
	paused Pause
	held   bool // see Hold

	levels    levels
	tenants   [MaxPriorities]*tenants
	staged    uint32   // priorities with messages that are set aside by tenant
	resident  []*chunk // with slots, but for the open ones
	loading   int      // chunks that are being loaded
	shut      []*chunk
	back      int      // groups whose holders are ready: they were given back
	stalled   bool     // there was no chunk to page out for one that is needed
	once      []*chunk // have messages that expire unless they are delivered now
	pinned    []*chunk // not to be paged out for now
	timers    timers
	groups    map[uint64]*group
	consumers map[string]*consumer
	order     []*consumer // by priority, highest first, then by age
	ranks     []rank      // of order
	turn      int         // whose turn it is, in order
	room      int         // consumers that can be given something
	active    *consumer   // of a queue with a single active one
	letters   letters
	dropped   [Reasons]uint64
	atOnceNow bool   // what is to be delivered at once or not at all has just come, or is just due
	reported  bool   // as unused
	unused    int64  // since when there is no consumer; 0: there is one
	bytes     int64  // of messages that wait
	born      uint64 // the last consumer

	epoch     uint64 // how often the queue was recovered
	recovered int64  // when, last
	clean     bool   // Stop was the last thing that happened
	restored  bool   // by Restore or Replay, and Recover is due
	replaying bool
	started   bool // Apply was called
	wake      int64
	sequence  uint64
	events    []byte
	effects   []Effect
	scratch   []Ref
	touched   []*consumer
	deadline  int64 // no settle timeout comes before; 0: there is none
	pulls     int   // that go on
	spare     []*chunk
	history   history
}

// Counter counts messages and the bytes of their bodies.
type Counter struct {
	Messages int
	Bytes    int64
}

// Counts are the numbers of messages. Taken is the sum of all the others, except
// Live, which is the sum of those before it.
type Counts struct {
	Taken uint64

	Ready, Delayed, InFlight, Dying int
	Live                            int

	Acked, Dead, Expired, Dropped, Purged, Moved, Lost uint64
}

// New returns an empty queue.
func New(c Config) (*Queue, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	q := &Queue{config: c, groups: map[uint64]*group{}, consumers: map[string]*consumer{}, letters: letters{all: map[Ref]*letter{}}}
	q.history.limit = max(c.Limits.History, 0)
	return q, nil
}

// feed is what a queue knows of a log.
type feed struct {
	log    uint32
	next   uint64   // the cursor: what is before it was taken
	chunks []*chunk // by offset
	open   *chunk   // the last one, while it is being filled
	heads  [MaxPriorities]*chunk
	marks  []reserve
	ahead  map[uint64]*page // what is known of messages that are yet to be taken
	purge  *purge           // one that reaches beyond the cursor
}

func (q *Queue) feed(log uint32) *feed {
	i, found := q.findFeed(log)
	if !found {
		return nil
	}
	return q.feeds[i]
}

func (q *Queue) findFeed(log uint32) (int, bool) {
	return slices.BinarySearchFunc(q.feeds, log, func(f *feed, log uint32) int { return cmp.Compare(f.log, log) })
}

// needFeed returns the feed of a log, a new one if need be.
func (q *Queue) needFeed(log uint32) (*feed, error) {
	i, found := q.findFeed(log)
	if found {
		return q.feeds[i], nil
	}
	if len(q.feeds) >= q.config.Limits.Logs {
		return nil, fmt.Errorf("%w: the queue takes from %d logs, the limit Logs is %d", ErrLimit, len(q.feeds), q.config.Limits.Logs)
	}
	f := &feed{log: log}
	q.feeds = slices.Insert(q.feeds, i, f)
	return f, nil
}

// at returns the place of the first chunk that ends after an offset.
func (f *feed) at(offset uint64) int {
	i, _ := slices.BinarySearchFunc(f.chunks, offset, func(c *chunk, offset uint64) int {
		if c.end > offset {
			return 1
		}
		return -1
	})
	return i
}

// find returns the chunk that covers an offset.
func (f *feed) find(offset uint64) *chunk {
	if i := f.at(offset); i < len(f.chunks) && f.chunks[i].first <= offset {
		return f.chunks[i]
	}
	return nil
}

// after returns the chunk after another one.
func (f *feed) after(c *chunk) *chunk {
	if i := f.at(c.end); i < len(f.chunks) {
		return f.chunks[i]
	}
	return nil
}
