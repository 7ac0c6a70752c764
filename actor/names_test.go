package actor

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupestream/troupe/internal/group"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// TestNames: ten thousand names, taken apart and put together of what has broken out of
// directories elsewhere, are accepted by one rule, and what is stored of a topic's
// partitions is named in a way that no two share and no file system misunderstands.
func TestNames(t *testing.T) {
	pieces := []string{"a", "b", "z", "orders", "0", "9", "-", "_", ".", "..", "/", "\\", "\x00", "\n", " ", "A", "Z", "ä", "é", "ｅ",
		"*", ">", "$", ":", "~", "%2e", "con", "nul", "topic_", "group_", "\u202e", "\xff", strings.Repeat("a", 62), "'", ";", "`"}
	random := rand.New(rand.NewPCG(1, 2))
	logs, accepted := map[string]string{}, 0
	for range 10_000 {
		var name string
		for range random.IntN(5) {
			name += pieces[random.IntN(len(pieces))]
		}
		err := CheckName(name)
		if good := plain(name) && !Internal(name); good != (err == nil) {
			t.Fatalf("%q: %v", name, err)
		}
		if err != nil {
			continue
		}
		accepted++
		for _, partition := range []int{0, 7, PartitionsMax - 1} {
			log := partitionLog(name, partition)
			if !filepath.IsLocal(log) || filepath.Base(log) != log || strings.ContainsAny(log, ".*> \t\r\n\\") || len(log) > 255 {
				t.Fatalf("%q: its log is called %q", name, log)
			}
			if other, taken := logs[strings.ToLower(log)]; taken && other != name {
				t.Fatalf("%q and %q share the log %q", name, other, log)
			}
			logs[strings.ToLower(log)] = name
		}
	}
	if accepted < 500 {
		t.Errorf("only %d names were accepted", accepted)
	}
}

// plain is the rule, written down another way.
func plain(name string) bool {
	if name == "" || len(name) > 63 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// TestNamesOfGroups: groups follow the same rule.
func TestNamesOfGroups(t *testing.T) {
	s := logSystem(t, storagefake.New())
	for _, name := range []string{"", "..", "../x", "a/b", "A", "a_b", "a.b", "-a", "a b", "a\n", strings.Repeat("a", 64), "ä", "a\x00"} {
		if _, err := s.Group(name, group.Config{}); err == nil {
			t.Errorf("a group can be called %q", name)
		}
	}
}
