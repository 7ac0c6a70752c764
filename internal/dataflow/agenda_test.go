package dataflow

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// An agenda gives what is noted and was not struck off, in order of time.
func TestAgendaAgainstASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Agenda
		model := map[due]bool{}
		holds := func(at int64, r Ref) bool { return model[due{at, r}] }
		draw := func(t *rapid.T) due {
			return due{rapid.Int64Range(-5, 5).Draw(t, "at"), Ref(rapid.IntRange(0, 400).Draw(t, "ref"))}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				d := draw(t)
				for i := range rapid.SampledFrom([]int{1, 10, 300}).Draw(t, "count") {
					d.ref += Ref(i)
					model[d] = true
					a.Add(d.at, d.ref)
				}
			},
			"strike": func(t *rapid.T) {
				if d := draw(t); model[d] {
					delete(model, d)
					a.Strike(holds)
				}
			},
			"strike many": func(*rapid.T) {
				for d := range model {
					if d.ref%3 == 0 {
						delete(model, d)
						a.Strike(holds)
					}
				}
				if 2*len(model)+64 < a.Len() && len(model) == 0 {
					t.Fatalf("%d left for %d", a.Len(), len(model))
				}
			},
			"take": func(t *rapid.T) {
				at, ok := a.Next()
				if !ok {
					return
				}
				got := map[due]bool{}
				for _, r := range a.Take(nil) {
					if d := (due{at, r}); model[d] {
						got[d] = true
					}
				}
				want := maps.Clone(model)
				maps.DeleteFunc(want, func(d due, _ bool) bool { return d.at != at })
				if !maps.Equal(got, want) {
					t.Fatalf("at %d: got %v, want %v", at, got, want)
				}
				maps.DeleteFunc(model, func(d due, _ bool) bool { return d.at == at })
			},
			"": func(t *rapid.T) {
				if at, ok := a.Next(); ok && len(model) > 0 {
					first := slices.MinFunc(slices.Collect(maps.Keys(model)), due.compare)
					if at > first.at {
						t.Fatalf("next is %d, but something is due at %d", at, first.at)
					}
				} else if len(model) > 0 {
					t.Fatal("nothing is due, but something is noted")
				}
			},
		})
	})
}
