package topology_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/troupestream/troupe/sinks"
	"github.com/troupestream/troupe/sources"
	"github.com/troupestream/troupe/topology"
)

// keyedBy keeps a value, a list and a map for each key.
func keyedBy[K comparable, V any](t *testing.T) *topology.Graph {
	t.Helper()
	b := topology.New("kept")
	var k K
	byKey := topology.KeyBy(topology.From(b, "in", sources.Slice(1)), "by-key", func(int) K { return k })
	out := topology.Process(byKey, "keep", func(p *topology.Processor[K, int, int]) {
		topology.ValueOf[V](p, "value")
		topology.ListOf[V](p, "list")
		topology.MapOf[string, V](p, "map")
		p.OnRecord(func(int) {})
	})
	topology.To(out, "out", sinks.Discard[int]())
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestTheDiffSeesFields of keys and of all kinds of state, through JSON and back.
func TestTheDiffSeesFields(t *testing.T) {
	stored := func(g *topology.Graph) (old topology.GraphJSON) {
		b, err := json.Marshal(g)
		if err == nil {
			err = json.Unmarshal(b, &old)
		}
		if err != nil {
			t.Fatal(err)
		}
		return old
	}
	old := func() topology.GraphJSON {
		type key struct{ K int }
		type value struct {
			N    int64
			Gone string
		}
		return stored(keyedBy[key, value](t))
	}()
	type value struct{ N *int64 }
	now := func() *topology.Graph {
		type key struct{ K int }
		return keyedBy[key, value](t)
	}()
	if d := now.Diff(old); !d.Compatible() {
		t.Errorf("a field has gone, and one become a pointer:\n%s", d)
	}
	otherKey := func() *topology.Graph {
		type key struct{ K, Added int }
		return keyedBy[key, value](t)
	}()
	if d := otherKey.Diff(old); d.Compatible() || !strings.Contains(d.String(), "keys must stay as they are") {
		t.Errorf("a key has a field more:\n%s", d)
	}
	otherValue := func() *topology.Graph {
		type key struct{ K int }
		type value struct{ N []byte }
		return keyedBy[key, value](t)
	}()
	d := otherValue.Diff(old)
	if d.Compatible() || !strings.Contains(d.String(), `state "list" cannot take what is stored: [].N was int64 and is bytes`) {
		t.Errorf("a field is another:\n%s", d)
	}
	// What older releases have stored does not say what fields there are.
	for i := range old.Nodes {
		old.Nodes[i].Forms = nil
	}
	if d := otherValue.Diff(old); !d.Compatible() {
		t.Errorf("nothing is known of the fields:\n%s", d)
	}
}
