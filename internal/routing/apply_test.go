package routing

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestRedeclare(t *testing.T) {
	declared := Exchange{Name: "x", Type: ConsistentHash, Durable: true, Alternate: "other", HashHeader: "tenant"}
	table := table(t, declared)
	if effects := apply(t, table, DeclareExchange{declared}); effects != nil {
		t.Errorf("declaring the same again changes %v", effects)
	}
	for arg, change := range map[string]func(*Exchange){
		"type":               func(x *Exchange) { x.Type, x.HashHeader = Topic, "" },
		"durable":            func(x *Exchange) { x.Durable = false },
		"auto_delete":        func(x *Exchange) { x.AutoDelete = true },
		"internal":           func(x *Exchange) { x.Internal = true },
		"alternate-exchange": func(x *Exchange) { x.Alternate = "" },
		"hash-header":        func(x *Exchange) { x.HashHeader = "user" },
	} {
		again := declared
		change(&again)
		_, err := table.Apply(DeclareExchange{again})
		var difference *InequivalentError
		if !errors.Is(err, ErrInequivalent) || !errors.As(err, &difference) || difference.Arg != arg {
			t.Errorf("another %s: %v", arg, err)
		}
	}
	again := declared
	again.HashHeader = "user"
	_, err := table.Apply(DeclareExchange{again})
	if want := "inequivalent arg 'hash-header' for exchange 'x': received 'user' but current is 'tenant'"; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("the error is %q, want %q", err, want)
	}
}

func TestBindingsHaveAnIdentity(t *testing.T) {
	table := table(t, Exchange{Name: "x", Type: Headers})
	apply(t, table, DeclareTarget{queue("q")})
	args := []Header{{"b", Int(1)}, {"a", Text("1")}}
	bind := Binding{Source: "x", Destination: queue("q"), Key: "k", Args: args}
	swapped := bind
	swapped.Args = []Header{args[1], args[0]}

	if got := apply(t, table, Bind{bind}); !reflect.DeepEqual(got, []Effect{Bound{swapped}}) {
		t.Errorf("binding: %v", got)
	}
	if args[0].Name != "b" {
		t.Error("the arguments of the caller were sorted")
	}
	for name, change := range map[string]func(*Binding){
		"key":       func(b *Binding) { b.Key = "" },
		"arguments": func(b *Binding) { b.Args = nil },
		"value":     func(b *Binding) { b.Args = []Header{{"b", Text("1")}, args[1]} },
		"queue":     func(b *Binding) { b.Name = "none" },
		"kind":      func(b *Binding) { b.Kind = ToTopic },
		"source":    func(b *Binding) { b.Source = "none" },
	} {
		other := bind
		change(&other)
		if got := apply(t, table, Unbind{other}); got != nil {
			t.Errorf("unbinding with another %s: %v", name, got)
		}
	}
	if got := apply(t, table, Bind{swapped}); got != nil {
		t.Errorf("binding again: %v", got)
	}
	if got := apply(t, table, Unbind{swapped}, Unbind{bind}); !reflect.DeepEqual(got, []Effect{Unbound{swapped}}) {
		t.Errorf("unbinding twice: %v", got)
	}
}

// Parts of an identity do not run into one another.
func TestIdentitiesOfArgumentsAreApart(t *testing.T) {
	seen := map[string][]Header{}
	for _, args := range [][]Header{
		nil, {{"", Void()}}, {{"c", Void()}}, {{"c", Text("")}}, {{"c", Bool(false)}}, {{"c", Int(0)}}, {{"c", Float(0)}}, {{"", Text("c")}},
		{{"ab", Text("c")}}, {{"a", Text("bc")}}, {{"abc", Text("")}}, {{"c", Void()}, {"d", Void()}}, {{"c", Int(1)}}, {{"c", Bool(true)}},
	} {
		id := argsIdentity(args)
		if other, twice := seen[id]; twice {
			t.Errorf("%v and %v have the same identity", args, other)
		}
		seen[id] = args
	}
}

func TestDeleteTakesBindingsAlong(t *testing.T) {
	table := table(t, Exchange{Name: "x", Type: Topic}, Exchange{Name: "y", Type: Fanout})
	toY := exchangeTo("x", "y", "#").Binding
	toQ := Binding{Source: "x", Destination: queue("q"), Key: "a"}
	yToQ := Binding{Source: "y", Destination: queue("q")}
	apply(t, table, DeclareTarget{queue("q")}, Bind{toY}, Bind{toQ}, Bind{yToQ})

	got := apply(t, table, DeleteExchange{Name: "y"})
	if want := []Effect{ExchangeDeleted{Exchange{Name: "y", Type: Fanout}, false}, Unbound{yToQ}, Unbound{toY}}; !reflect.DeepEqual(got, want) {
		t.Errorf("deleting y: %v, want %v", got, want)
	}
	got = apply(t, table, DeleteTarget{queue("q")})
	if want := []Effect{TargetDeleted{queue("q")}, Unbound{toQ}}; !reflect.DeepEqual(got, want) {
		t.Errorf("deleting q: %v, want %v", got, want)
	}
	if got := apply(t, table, DeleteTarget{queue("q")}, DeleteExchange{Name: "y"}, Unbind{toQ}); got != nil {
		t.Errorf("deleting what is not there: %v", got)
	}
	if got := table.Commands(); len(got) != 1 {
		t.Errorf("left are %v", got)
	}
}

// An auto-delete exchange goes with its last binding, and takes those with it
// that had their last binding to it.
func TestAutoDelete(t *testing.T) {
	x, y := Exchange{Name: "x", Type: Fanout, AutoDelete: true}, Exchange{Name: "y", Type: Fanout, AutoDelete: true}
	for name, last := range map[string]Command{
		"unbind":       Unbind{Binding{Source: "y", Destination: queue("q")}},
		"queue delete": DeleteTarget{queue("q")},
	} {
		table := table(t, x, y)
		apply(t, table, exchangeTo("x", "y", ""))
		bindQueue(t, table, "y", "q", "")
		bindQueue(t, table, "y", "other", "")
		apply(t, table, DeleteTarget{queue("other")})
		if len(table.Exchanges()) != 2 {
			t.Fatalf("%s: y went before its last binding", name)
		}
		deleted := []Effect{}
		for _, e := range apply(t, table, last) {
			if e, is := e.(ExchangeDeleted); is {
				deleted = append(deleted, e)
			}
		}
		if want := []Effect{ExchangeDeleted{y, true}, ExchangeDeleted{x, true}}; !reflect.DeepEqual(deleted, want) {
			t.Errorf("%s deletes %v, want %v", name, deleted, want)
		}
	}
}

func TestAutoDeleteInACycle(t *testing.T) {
	table := table(t, Exchange{Name: "x", Type: Fanout, AutoDelete: true}, Exchange{Name: "y", Type: Fanout, AutoDelete: true})
	apply(t, table, exchangeTo("x", "y", ""), exchangeTo("y", "x", ""), exchangeTo("x", "x", ""))
	apply(t, table, DeleteExchange{Name: "x"})
	if got := table.Commands(); got != nil {
		t.Errorf("left are %v", got)
	}
}

func TestIfUnused(t *testing.T) {
	table := table(t, Exchange{Name: "x", Type: Fanout}, Exchange{Name: "y", Type: Fanout})
	apply(t, table, exchangeTo("x", "y", ""))
	if _, err := table.Apply(DeleteExchange{"x", true}); !errors.Is(err, ErrInUse) {
		t.Errorf("deleting x, which is the source of a binding: %v", err)
	}
	apply(t, table, DeleteExchange{"y", true}, DeleteExchange{"x", true})
}

func TestRefusedCommands(t *testing.T) {
	table := New(Limits{Exchanges: 3, Targets: 1, ExchangeBindings: 2, Args: 2, ConsistentTargets: 1, Words: 3})
	apply(t, table, DeclareExchange{Exchange{Name: "h", Type: Headers}}, DeclareExchange{Exchange{Name: "c", Type: ConsistentHash}},
		DeclareExchange{Exchange{Name: "t", Type: Topic}}, DeclareTarget{queue("q")})
	to := func(source, key string, args ...Header) Bind {
		return Bind{Binding{Source: source, Destination: queue("q"), Key: key, Args: args}}
	}
	apply(t, table, to("t", "1"), to("t", "2"), to("c", "1"))
	before := table.Commands()
	long := strings.Repeat("n", 256)
	for _, c := range []struct {
		command Command
		want    error
	}{
		{nil, ErrInvalid},
		{DeclareExchange{Exchange{Type: Topic}}, ErrDefaultExchange},
		{DeleteExchange{}, ErrDefaultExchange},
		{to("", "q"), ErrDefaultExchange},
		{Unbind{to("", "q").Binding}, ErrDefaultExchange},
		{exchangeTo("t", "", "k"), ErrDefaultExchange},
		{DeclareExchange{Exchange{Name: "x"}}, ErrInvalid},
		{DeclareExchange{Exchange{Name: "x", Type: 99}}, ErrInvalid},
		{DeclareExchange{Exchange{Name: long, Type: Topic}}, ErrLimit},
		{DeclareExchange{Exchange{Name: "\xff", Type: Topic}}, ErrInvalid},
		{DeclareExchange{Exchange{Name: "x", Type: Topic, Alternate: long}}, ErrLimit},
		{DeclareExchange{Exchange{Name: "x", Type: Topic, HashHeader: "h"}}, ErrInvalid},
		{DeclareExchange{Exchange{Name: "x", Type: ConsistentHash, HashHeader: "h", HashProperty: HashMessageID}}, ErrInvalid},
		{DeclareExchange{Exchange{Name: "x", Type: ConsistentHash, HashProperty: "body"}}, ErrInvalid},
		{DeclareExchange{Exchange{Name: "x", Type: Topic}}, ErrLimit},
		{DeclareTarget{queue("r")}, ErrLimit},
		{DeclareTarget{queue("")}, ErrInvalid},
		{DeclareTarget{Destination{9, "q"}}, ErrInvalid},
		{DeclareTarget{Destination{ToExchange, "x"}}, ErrInvalid},
		{DeleteTarget{Destination{ToExchange, "t"}}, ErrInvalid},
		{to("none", "k"), ErrNotFound},
		{Bind{Binding{Source: "t", Destination: queue("none")}}, ErrNotFound},
		{exchangeTo("t", "none", "k"), ErrNotFound},
		{to("t", "3"), ErrLimit},
		{to("h", long), ErrLimit},
		{to("h", "a.b.c.d"), ErrLimit},
		{to("h", "", Header{"a", Void()}, Header{"b", Void()}, Header{"c", Void()}), ErrLimit},
		{to("h", "", Header{"a", Text(strings.Repeat("v", 16<<10))}), ErrLimit},
		{to("h", "", Header{"a", Int(1)}, Header{"a", Int(2)}), ErrInvalid},
		{to("h", "", Header{"a", Value{Kind: IntKind, Text: "1"}}), ErrInvalid},
		{to("h", "", Header{"a", Value{Kind: BoolKind, Bits: 2}}), ErrInvalid},
		{to("h", "", Header{"a", Value{Kind: 77}}), ErrInvalid},
		{to("h", "", Header{"x-match", Text("some")}), ErrInvalid},
		{to("h", "", Header{"x-match", Int(1)}), ErrInvalid},
		{to("c", "0"), ErrInvalid},
		{to("c", "-1"), ErrInvalid},
		{to("c", "one"), ErrInvalid},
		{to("c", ""), ErrInvalid},
		{to("c", "99999999999999999999"), ErrInvalid},
		{to("c", "1000001"), ErrLimit},
		{exchangeTo("c", "t", "1"), ErrLimit},
	} {
		effects, err := table.Apply(c.command)
		if !errors.Is(err, c.want) || effects != nil {
			t.Errorf("%#v: %v and %v, want %v", c.command, effects, err, c.want)
		}
	}
	if got := table.Commands(); !reflect.DeepEqual(got, before) {
		t.Errorf("the refused commands left %v, want %v", got, before)
	}
}

func TestTableListsWhatItHolds(t *testing.T) {
	x, y := Exchange{Name: "x", Type: Topic, Durable: true}, Exchange{Name: "y", Type: Fanout}
	table := table(t, y, x)
	bindQueue(t, table, "x", "q", "b")
	bindQueue(t, table, "x", "q", "a")
	apply(t, table, exchangeTo("x", "y", "c"))
	a := Binding{Source: "x", Destination: queue("q"), Key: "a"}
	b := Binding{Source: "x", Destination: queue("q"), Key: "b"}
	c := exchangeTo("x", "y", "c").Binding
	same := func(what string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	same("exchanges", table.Exchanges(), []Exchange{x, y})
	same("targets", table.Targets(), []Destination{queue("q")})
	same("from x", table.From("x"), []Binding{a, b, c})
	same("to q", table.To(queue("q")), []Binding{a, b})
	same("to y", table.To(c.Destination), []Binding{c})
	same("from none", len(table.From("none"))+len(table.To(queue("none"))), 0)
	same("has", []bool{table.Has(queue("q")), table.Has(c.Destination), table.Has(queue("y"))}, []bool{true, true, false})
	if got, ok := table.Exchange("x"); !ok || got != x {
		t.Errorf("exchange x is %v, %v", got, ok)
	}
	if _, ok := table.Exchange("none"); ok {
		t.Error("there is an exchange none")
	}
}

func TestNamesOfTypes(t *testing.T) {
	for typ, name := range map[ExchangeType]string{Direct: "direct", Fanout: "fanout", Topic: "topic", Headers: "headers", ConsistentHash: "x-consistent-hash"} {
		if typ.String() != name {
			t.Errorf("%q is called %v", name, typ)
		}
	}
}

func TestWhatATargetCarriesIsThereBeforeMessagesReachIt(t *testing.T) {
	table := New(Limits{})
	router, early := table.Router(), false
	table.Carry(func(d Destination) any {
		var out Result
		err := router.Route("", &Message{Key: d.Name}, &out)
		early = early || err != nil || len(out.Targets) > 0
		return "cargo of " + d.Name
	})
	apply(t, table, DeclareTarget{queue("q")})
	var out Result
	if err := router.Route("", &Message{Key: "q"}, &out); err != nil || len(out.Targets) != 1 || out.Targets[0].Data != "cargo of q" || early {
		t.Errorf("%d targets, %v; reached before: %v", len(out.Targets), err, early)
	}
}
