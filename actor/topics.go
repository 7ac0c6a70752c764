package actor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
)

// Durability and Compression of a topic.
type (
	Durability  = storage.Durability
	Compression = codec.Compression
)

// What a topic can be declared with.
const (
	Fsync    = storage.Fsync    // acknowledged means on disk; the default
	Interval = storage.Interval // acknowledged survives the process, not a power cut
	Memory   = storage.Memory   // lost when the process ends

	Uncompressed = codec.None // the default
	S2           = codec.S2
	Zstd         = codec.Zstd
)

// Errors of topics. Test for them with errors.Is.
var (
	// ErrNoTopic: there is no topic of that name.
	ErrNoTopic = errors.New("there is no such topic")
	// ErrConflict: the topic, exchange or queue exists with another configuration; the
	// error names the difference.
	ErrConflict = errors.New("it is declared differently")
)

// PartitionsMax is how many partitions a topic can have.
const PartitionsMax = 1024

// TopicConfig is what a topic is declared with. All but Durability and KeyIndex can be altered
// later.
type TopicConfig struct {
	Partitions  int // default 1, at most PartitionsMax
	Durability  Durability
	Compression Compression
	Retention   Retention  // default DefaultRetention; for ever if the topic is compacted
	Compaction  Compaction // default: none
	// KeyIndex has each partition know the newest record of each of its keys, so that
	// appends can say what they expect of one: see Publisher.PublishIf. It takes 64 bytes
	// of memory for each key, up to KeyIndexBytes (see PartitionLimits), and opening a
	// partition takes as long as reading it. For the life of the topic.
	KeyIndex bool
	// Timestamps says which time records have; Kafka's message.timestamp.type.
	// Default CreateTime.
	Timestamps Timestamps
}

func (c TopicConfig) withDefaults() TopicConfig {
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	if c.Compaction = c.Compaction.withDefaults(); c.Compaction.Enabled && c.Retention == (Retention{}) {
		c.Retention.Forever = true
	}
	c.Retention = c.Retention.withDefault()
	return c
}

// TopicInfo is a topic and its configuration.
type TopicInfo struct {
	Name string
	TopicConfig
}

// topics is the directory: which topics there are, and the handles of those in
// use. It owns nothing: the truth is the newest entry of the log meta_topics,
// and every change is a compare-and-swap on the sequence of that entry. So it is
// no actor, and several processes may change it.
type topics struct {
	sys  *System
	lock chan struct{} // one operation at a time; a channel, to wait within a context
	log  storage.Log
	open map[string]*Topic
	// renewed: what an earlier process kept in memory is known to be gone.
	renewed bool
}

const metaLog = "meta_topics"

// metaKept is how many old entries of the directory stay, for people to look at.
const metaKept = 16

var topicName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func newTopics(sys *System) *topics {
	return &topics{sys: sys, lock: make(chan struct{}, 1), open: map[string]*Topic{}}
}

// Declare returns the topic of that name, and creates it when there is none. It
// may be called any number of times; a configuration that differs from that of
// the existing topic is an ErrConflict that names the difference.
//
// A name consists of lower case letters, digits and hyphens, begins with a
// letter, and has at most 63 characters.
func (s *System) Declare(ctx context.Context, name string, config TopicConfig) (*Topic, error) {
	config = config.withDefaults()
	if err := checkTopic(name, config); err != nil {
		return nil, fmt.Errorf("declare %w", err)
	}
	var t *Topic
	err := s.topics.exclusively(ctx, "declare topic "+name, func() (err error) {
		t, err = s.topics.declare(ctx, name, config)
		return err
	})
	return t, err
}

// Topic returns a topic that was declared before, by this process or an earlier
// one. Partitions that had stopped are started, and take their logs over.
func (s *System) Topic(ctx context.Context, name string) (*Topic, error) {
	var t *Topic
	err := s.topics.exclusively(ctx, "open topic "+name, func() error {
		d, err := s.topics.load(ctx)
		if err != nil {
			return err
		}
		stored, found := d.Topics[name]
		if !found || stored.Deleting {
			return ErrNoTopic
		}
		t, err = s.topics.start(name, stored)
		return err
	})
	return t, err
}

// Topics lists the topics, by name.
func (s *System) Topics(ctx context.Context) ([]TopicInfo, error) {
	var all []TopicInfo
	err := s.topics.exclusively(ctx, "list topics", func() error {
		d, err := s.topics.load(ctx)
		if err != nil {
			return err
		}
		for name, stored := range d.Topics {
			if config, err := stored.config(); err != nil {
				return fmt.Errorf("topic %s: %w", name, err)
			} else if !stored.Deleting {
				all = append(all, TopicInfo{name, config})
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b TopicInfo) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// AlterTopic changes the configuration of a topic: f is given what it is and
// changes it. Partitions can be added, which sends keys elsewhere from then on,
// and not be taken away; Durability stays. Jobs and handles that there are go on
// with the partitions they know. f may be called several times.
func (s *System) AlterTopic(ctx context.Context, name string, f func(*TopicConfig)) (*Topic, error) {
	var t *Topic
	err := s.topics.exclusively(ctx, "alter topic "+name, func() (err error) {
		t, err = s.topics.alter(ctx, name, f)
		return err
	})
	if err == nil {
		err = s.topicsChanged(ctx, name)
	}
	return t, err
}

// stored returns what is noted of the topics that there are.
func (d *topics) stored(ctx context.Context) (all map[string]storedTopic, err error) {
	err = d.exclusively(ctx, "list topics", func() error {
		directory, err := d.load(ctx)
		if err != nil {
			return err
		}
		all = directory.Topics
		maps.DeleteFunc(all, func(_ string, t storedTopic) bool { return t.Deleting })
		return nil
	})
	return all, err
}

// DeleteTopic deletes a topic and its records. Handles on it fail with ErrNoTopic from
// then on, also when there is another topic of that name.
func (s *System) DeleteTopic(ctx context.Context, name string) error {
	err := s.topics.exclusively(ctx, "delete topic "+name, func() error {
		d, err := s.topics.load(ctx)
		if err != nil {
			return err
		}
		if _, found := d.Topics[name]; !found {
			return ErrNoTopic
		}
		return s.topics.delete(ctx, name)
	})
	if err != nil {
		return err
	}
	return s.topicsChanged(ctx, name)
}

// internalPrefixes begin the names of topics that Troupe keeps for itself.
var internalPrefixes = []string{"staging-", parkedPrefix, laterPrefix, exchangePrefix, shardPrefix}

// Internal says whether a name is that of a topic which Troupe keeps for itself.
// System.Topics lists them, too.
func Internal(name string) bool {
	return slices.ContainsFunc(internalPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// ErrReserved: the name is one of those that Troupe keeps for itself.
var ErrReserved = errors.New("the name is reserved")

// CheckName says whether a topic of a user can have that name.
func CheckName(name string) error {
	if Internal(name) {
		return fmt.Errorf("topic %s: %w: names that begin with %s are Troupe's own", name, ErrReserved, strings.Join(internalPrefixes, ", "))
	}
	return checkName(name)
}

func checkName(name string) error {
	if !topicName.MatchString(name) {
		return fmt.Errorf("topic %q: a name consists of a-z, 0-9 and -, begins with a letter and has at most 63 characters", name)
	}
	return nil
}

func checkTopic(name string, c TopicConfig) error {
	if err := checkName(name); err != nil {
		return err
	}
	if c.Partitions < 1 || c.Partitions > PartitionsMax {
		return fmt.Errorf("topic %s: %d partitions: there must be 1 to %d", name, c.Partitions, PartitionsMax)
	}
	if durabilityNames[c.Durability] == "" || compressionNames[c.Compression] == "" {
		return fmt.Errorf("topic %s: there is no durability %d or no compression %d", name, c.Durability, c.Compression)
	}
	err := c.Retention.check()
	if err == nil {
		err = c.Compaction.check()
	}
	if err == nil && timestampNames[c.Timestamps] == "" {
		err = fmt.Errorf("there are no timestamps %d", c.Timestamps)
	}
	if err == nil && c.Compaction.Enabled && c.Retention.Records > 0 {
		err = errors.New("a compacted topic cannot be told to keep so many records: give its Retention an Age or Bytes")
	}
	if err != nil {
		return fmt.Errorf("topic %s: %w", name, err)
	}
	return nil
}

// exclusively runs one operation at a time.
func (d *topics) exclusively(ctx context.Context, what string, f func() error) error {
	select {
	case d.lock <- struct{}{}:
		defer func() { <-d.lock }()
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	if err := ofStore(f()); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (d *topics) declare(ctx context.Context, name string, config TopicConfig) (*Topic, error) {
	var stored storedTopic
	err := d.change(ctx, func(all *directory) (bool, error) {
		var found bool
		stored, found = all.Topics[name]
		if found && stored.Deleting {
			return false, errDeleting
		}
		if found {
			existing, err := stored.config()
			if err != nil {
				return false, err
			}
			return false, difference(existing, config)
		}
		stored = storedTopicOf(config)
		stored.Incarnation = all.seq + 1
		all.Topics[name] = stored
		return true, nil
	})
	if errors.Is(err, errDeleting) {
		if err = d.delete(ctx, name); err == nil {
			return d.declare(ctx, name, config)
		}
	}
	if err != nil {
		return nil, err
	}
	return d.start(name, stored)
}

// errDeleting: a deletion of the topic was interrupted. Nobody else is at it: there is
// one operation at a time.
var errDeleting = errors.New("it is being deleted")

func (d *topics) alter(ctx context.Context, name string, f func(*TopicConfig)) (*Topic, error) {
	var config TopicConfig
	var stored storedTopic
	err := d.change(ctx, func(all *directory) (bool, error) {
		var found bool
		stored, found = all.Topics[name]
		if !found || stored.Deleting {
			return false, ErrNoTopic
		}
		has, err := stored.config()
		if err != nil {
			return false, err
		}
		config = has
		f(&config)
		config = config.withDefaults()
		switch err := checkTopic(name, config); {
		case err != nil:
			return false, err
		case config.Partitions < has.Partitions:
			return false, fmt.Errorf("%w: it has %d partitions, and can have more but not %d: their records would be lost", ErrConflict, has.Partitions, config.Partitions)
		case config.KeyIndex != has.KeyIndex:
			return false, fmt.Errorf("%w: whether it has a KeyIndex is for life: declare another topic", ErrConflict)
		case config.Durability != has.Durability:
			return false, fmt.Errorf("%w: it has durability %s for life: declare another topic", ErrConflict, durabilityNames[has.Durability])
		}
		before := stored
		stored = storedTopicOf(config)
		stored.Incarnation, stored.Held = before.Incarnation, before.Held
		all.Topics[name] = stored
		return config != has, nil
	})
	if err != nil {
		return nil, err
	}
	if open := d.open[name]; open != nil {
		open.settings.Store(&config)
	}
	return d.start(name, stored)
}

// difference says in which way a declaration conflicts with the topic there is.
func difference(has, wants TopicConfig) error {
	var all []string
	add := func(what string, has, wants any) {
		if has != wants {
			all = append(all, fmt.Sprintf("it has %s %v, not %v", what, has, wants))
		}
	}
	add("partitions", has.Partitions, wants.Partitions)
	add("durability", durabilityNames[has.Durability], durabilityNames[wants.Durability])
	add("compression", compressionNames[has.Compression], compressionNames[wants.Compression])
	add("retention", has.Retention, wants.Retention)
	add("compaction", has.Compaction, wants.Compaction)
	add("timestamps", has.Timestamps, wants.Timestamps)
	add("key index", has.KeyIndex, wants.KeyIndex)
	if all == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: open it as it is, or alter it", ErrConflict, strings.Join(all, "; "))
}

// start returns the handle of a topic and sees to it that its partitions run.
func (d *topics) start(name string, stored storedTopic) (*Topic, error) {
	config, err := stored.config()
	if err != nil {
		return nil, err
	}
	t := d.open[name]
	if t == nil {
		t = &Topic{sys: d.sys, name: name, incarnation: stored.Incarnation, settings: new(atomic.Pointer[TopicConfig]), deleted: new(atomic.Bool), held: new(atomic.Bool)}
		t.settings.Store(&config)
		t.held.Store(stored.Held)
		d.open[name] = t
	}
	if more := config.Partitions - len(t.partitions); more > 0 {
		t = t.with(more)
		d.open[name] = t
	}
	for i, ref := range t.partitions {
		if ref.dead.Load() {
			if err := t.startPartition(i, ref); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// with returns a handle on a topic to which partitions were added.
func (t *Topic) with(more int) *Topic {
	grown := *t
	grown.partitions = slices.Clip(t.partitions)
	for range more {
		ref := &partitionRef{gate: newGate(t.sys.limits.QueueBytes)}
		ref.dead.Store(true)
		grown.partitions = append(grown.partitions, ref)
	}
	return &grown
}

func (t *Topic) startPartition(i int, ref *partitionRef) error {
	pid, err := t.sys.spawnPartition(&partitionConfig{
		topic: t.name, incarnation: t.incarnation, index: i, log: partitionLog(t.name, i),
		durability: t.settings.Load().Durability, limits: t.sys.limits, settings: t.settings, held: t.held,
	})
	if err != nil {
		return err
	}
	ref.pid.Store(pid)
	ref.dead.Store(false)
	t.sys.watches.then(pid, func() { ref.dead.Store(true) })
	return nil
}

func partitionLog(topic string, i int) string { return partitionLogs(topic) + strconv.Itoa(i) }

// partitionLogs is how the names of all of them begin.
func partitionLogs(topic string) string { return "topic_" + topic + "_" }

// delete notes first that the topic is to go, so that a deletion that was
// interrupted can be completed, and no half-deleted topic comes back.
func (d *topics) delete(ctx context.Context, name string) error {
	err := d.change(ctx, func(all *directory) (bool, error) {
		t := all.Topics[name]
		t.Deleting = true
		all.Topics[name] = t
		return true, nil
	})
	if err == nil {
		err = d.stopPartitions(ctx, name)
	}
	if err == nil {
		err = d.deleteLogs(ctx, name)
	}
	if err != nil {
		return err
	}
	return d.change(ctx, func(all *directory) (bool, error) {
		delete(all.Topics, name)
		return true, nil
	})
}

func (d *topics) stopPartitions(ctx context.Context, name string) error {
	t := d.open[name]
	if t == nil {
		return nil
	}
	delete(d.open, name)
	t.deleted.Store(true)
	for _, ref := range t.partitions {
		pid := ref.pid.Load()
		if pid == nil {
			continue
		}
		d.sys.Stop(pid)
		select {
		case <-d.sys.Watch(pid):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (d *topics) deleteLogs(ctx context.Context, name string) error {
	logs, err := d.sys.store.Logs(ctx, partitionLogs(name))
	if err != nil {
		return err
	}
	for _, log := range logs {
		if err := d.sys.store.DeleteLog(ctx, log); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return nil
}

// directory is what an entry of meta_topics holds, as JSON.
type directory struct {
	Version int                    `json:"version"`
	Topics  map[string]storedTopic `json:"topics"`

	seq uint64 // of the last entry of the log
}

type storedTopic struct {
	Partitions int `json:"partitions"`
	// Incarnation is the number of the entry that has declared the topic: of two
	// topics of one name, the later one has the higher. 0: declared by a release that
	// did not note it.
	Incarnation uint64 `json:"incarnation,omitempty"`
	Durability  string `json:"durability"`
	Compression string `json:"compression"`
	// What is kept; all of them 0: everything.
	KeepMs      int64 `json:"keep_ms,omitempty"`
	KeepBytes   int64 `json:"keep_bytes,omitempty"`
	KeepRecords int64 `json:"keep_records,omitempty"`

	Compaction *storedCompaction `json:"compaction,omitempty"`
	Timestamps string            `json:"timestamps,omitempty"` // empty: CreateTime
	KeyIndex   bool              `json:"key_index,omitempty"`
	// Held: queues read it, and it keeps what they need.
	Held     bool `json:"held,omitempty"`
	Deleting bool `json:"deleting,omitempty"`
}

// directoryVersion is written where no topic has what an earlier release would pass
// over.
const (
	directoryVersion     = 1
	directoryVersionMore = 3 // topics may be compacted, or have append times; since 3 they have incarnations
	directoryVersionMax  = 4 // and they may be held by queues
)

var (
	durabilityNames  = map[Durability]string{Fsync: "fsync", Interval: "interval", Memory: "memory"}
	compressionNames = map[Compression]string{Uncompressed: "none", S2: "s2", Zstd: "zstd"}
)

func storedTopicOf(c TopicConfig) storedTopic {
	return storedTopic{Partitions: c.Partitions, Durability: durabilityNames[c.Durability], Compression: compressionNames[c.Compression],
		KeepMs: c.Retention.Age.Milliseconds(), KeepBytes: c.Retention.Bytes, KeepRecords: c.Retention.Records,
		Compaction: storedCompactionOf(c.Compaction), Timestamps: storedTimestampsOf(c.Timestamps), KeyIndex: c.KeyIndex}
}

func (t storedTopic) config() (TopicConfig, error) {
	c := TopicConfig{Partitions: t.Partitions, Compaction: t.Compaction.compaction(), KeyIndex: t.KeyIndex, Retention: Retention{Age: time.Duration(t.KeepMs) * time.Millisecond,
		Bytes: t.KeepBytes, Records: t.KeepRecords}}
	c.Retention.Forever = c.Retention == Retention{}
	var durable, compressed bool
	c.Durability, durable = keyOf(durabilityNames, t.Durability)
	c.Compression, compressed = keyOf(compressionNames, t.Compression)
	timed := t.Timestamps == ""
	if !timed {
		c.Timestamps, timed = keyOf(timestampNames, t.Timestamps)
	}
	if !durable || !compressed || !timed || checkTopic("stored", c) != nil {
		return c, fmt.Errorf("its entry in the directory makes no sense (%+v): %w", t, ErrCorrupt)
	}
	return c, nil
}

func keyOf[K comparable](names map[K]string, name string) (K, bool) {
	for k, n := range names {
		if n == name {
			return k, true
		}
	}
	var zero K
	return zero, false
}

// load reads the newest directory, the first time after renew.
func (d *topics) load(ctx context.Context) (*directory, error) {
	if !d.renewed {
		if err := d.renew(ctx); err != nil {
			return nil, err
		}
		d.renewed = true
	}
	return d.read(ctx)
}

func (d *topics) read(ctx context.Context) (*directory, error) {
	if d.log == nil {
		log, err := d.sys.store.OpenLog(ctx, metaLog, storage.LogOptions{Durability: Fsync})
		if err != nil {
			return nil, err
		}
		d.log = log
	}
	bounds, err := d.log.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	all := &directory{Version: directoryVersion, Topics: map[string]storedTopic{}, seq: bounds.Last}
	entry, err := d.log.Last(ctx, storage.State)
	if errors.Is(err, storage.ErrNotFound) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(entry.Data, all); err != nil {
		return nil, fmt.Errorf("the directory of topics (log %s, entry %d) is damaged: %w: %w", metaLog, entry.Seq, ErrCorrupt, err)
	}
	if all.Version < directoryVersion || all.Version > directoryVersionMax {
		return nil, fmt.Errorf("the directory of topics has version %d, this release reads up to %d: update Troupe", all.Version, directoryVersionMax)
	}
	all.seq = entry.Seq // only states are ever appended here
	return all, nil
}

// changeTries bounds how often others may be faster.
const changeTries = 16

// close releases the log. No operation is under way or will come.
func (d *topics) close() {
	if d.log != nil {
		d.log.Close()
	}
}

// change reads the directory, lets f change it, and writes it back if nobody
// else did meanwhile; otherwise again. It also tries again when the answer was
// lost: f then finds its own change done, or not.
func (d *topics) change(ctx context.Context, f func(*directory) (bool, error)) error {
	return d.changeWhat(ctx, d.load, f)
}

func (d *topics) changeWhat(ctx context.Context, load func(context.Context) (*directory, error), f func(*directory) (bool, error)) error {
	var err error
	for try := range changeTries {
		var all *directory
		if all, err = load(ctx); err != nil {
			return err
		}
		changed, stop := f(all)
		if stop != nil || !changed {
			return stop
		}
		if err = d.write(ctx, all); err == nil {
			return nil
		}
		if what := classify(err); what == notStored || what == logGone {
			return err
		}
		if pauseErr := pause(ctx, try); pauseErr != nil {
			return errors.Join(err, pauseErr)
		}
	}
	return err
}

func (d *topics) write(ctx context.Context, all *directory) error {
	all.Version = directoryVersion
	for _, t := range all.Topics {
		if t.Compaction != nil || t.Timestamps != "" || t.Incarnation > 0 {
			all.Version = max(all.Version, directoryVersionMore)
		}
		if t.Held {
			all.Version = directoryVersionMax
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	seq, err := d.log.Append(ctx, storage.State, data, all.seq)
	if err == nil && seq > metaKept {
		if trimErr := d.log.Trim(ctx, seq-metaKept); trimErr != nil {
			d.sys.log.Warn("old entries of the topic directory were not dropped", "err", trimErr)
		}
	}
	return err
}
