package routing

// keyCache remembers the targets that topic exchanges found for keys. Programs
// use few routing keys compared with the messages they publish, and what is
// remembered costs the same however many patterns there are and whatever they
// look like. Each key has one place, which it shares with others: the last one
// stays. A key is remembered the second time that it comes to its place, so that
// keys that never come again cost no more than a look.
//
// An entry is good while the version of its exchange stands. The version is read
// before the walk and raised after each change; so whatever a walk saw of a
// change that was under way, its entry is void when the change is done.
type keyCache struct{ entries []cacheEntry }

type cacheEntry struct {
	index   *topicIndex
	version uint64
	hash    uint64 // of the key that came last
	kept    *keptKey
}

// keptKey is used again when its place goes to another key.
type keptKey struct {
	valid   bool   // for the hash and version of the entry
	key     []byte // a copy, so that no buffer of a caller is held
	targets []*Target
}

const (
	cacheEntries = 1024 // a power of two
	cacheTargets = 32   // keys with more are not remembered: their targets cost more than the walk
)

// at is the place of a key of that hash. The places, of 32 bytes each and for
// each its key and targets, are made when the first is asked for.
func (c *keyCache) at(hash uint64) *cacheEntry {
	if c.entries == nil {
		c.entries = make([]cacheEntry, cacheEntries)
	}
	return &c.entries[hash%cacheEntries]
}

// came notes that a key came, and says whether it was the last one to come here.
func (e *cacheEntry) came(x *topicIndex, version, hash uint64) bool {
	if e.hash == hash && e.version == version && e.index == x {
		return true
	}
	e.index, e.version, e.hash = x, version, hash
	if e.kept != nil {
		e.kept.valid = false
	}
	return false
}

// targets are those of the key that was the last one to come, if they are
// remembered.
func (e *cacheEntry) targets(key string) ([]*Target, bool) {
	if e.kept == nil || !e.kept.valid || string(e.kept.key) != key {
		return nil, false
	}
	return e.kept.targets, true
}

func (e *cacheEntry) keep(key string, targets []*Target) {
	if len(targets) > cacheTargets {
		return
	}
	if e.kept == nil {
		e.kept = new(keptKey)
	}
	e.kept.valid = true
	e.kept.key = append(e.kept.key[:0], key...)
	e.kept.targets = append(e.kept.targets[:0], targets...)
}
