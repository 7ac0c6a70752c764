package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/troupestream/troupe/actor"
)

func exchangeVerbs() []*verb {
	return []*verb{
		{name: "exchange declare", args: "NAME", takes: 1, creates: true, define: declareExchange,
			about: "declare an exchange; one that is the same already is left as it is"},
		{name: "exchange list", about: "list the exchanges", define: listExchanges},
		{name: "exchange describe", args: "NAME", takes: 1, about: "show settings and bindings of an exchange", define: describeExchange},
		{name: "exchange delete", args: "NAME", takes: 1, about: "delete an exchange and its bindings", define: deleteExchange},
		{name: "exchange bind", args: "NAME", takes: 1, about: "have an exchange lead to a queue, a topic or another exchange",
			define: func(f *flag.FlagSet) action { return defineBinding(f, "bound", (*actor.System).Bind) }},
		{name: "exchange unbind", args: "NAME", takes: 1, about: "remove a binding: the very same, arguments included",
			define: func(f *flag.FlagSet) action { return defineBinding(f, "unbound", (*actor.System).Unbind) }},
		{name: "exchange bindings", args: "[NAME]", optional: 1, about: "list the bindings of an exchange, or all of them", define: listBindings},
	}
}

func declareExchange(f *flag.FlagSet) action {
	o := newExchangeSettings(f)
	return func(ctx context.Context, s *session) error {
		var c actor.ExchangeConfig
		if err := o.apply(&c); err != nil {
			return err
		}
		x, err := s.sys.DeclareExchange(ctx, s.args[0], c)
		if err != nil {
			return err
		}
		v := exchangeOf(x.Name(), x.Config())
		if s.json {
			return s.printJSON(v)
		}
		return table(s.out, v.rows()...)
	}
}

func listExchanges(f *flag.FlagSet) action {
	all := f.Bool("all", false, "also those that are there from the start")
	return func(ctx context.Context, s *session) error {
		exchanges, err := s.sys.Exchanges(ctx)
		if err != nil {
			return err
		}
		bindings, err := s.sys.Bindings(ctx, "")
		if err != nil {
			return err
		}
		from := map[string]int{}
		for _, b := range bindings {
			from[b.Exchange]++
		}
		list, rows := []listedExchangeJSON{}, [][]string{row("NAME", "TYPE", "BINDINGS", "ALTERNATE", "RETENTION", "LOG")}
		for _, x := range exchanges {
			if predeclared(x.Name) && !*all {
				continue
			}
			v := listedExchangeJSON{exchangeOf(x.Name, x.ExchangeConfig), x.LogTopic, from[x.Name]}
			list = append(list, v)
			rows = append(rows, row(shownName(v.Name), v.Type, v.Bindings, v.Alternate, retentionText(x.ExchangeConfig), v.LogTopic))
		}
		if s.json {
			return s.printJSON(list)
		}
		return table(s.out, rows...)
	}
}

// predeclared says whether an exchange is there from the start.
func predeclared(exchange string) bool { return exchange == "" || strings.HasPrefix(exchange, "amq.") }

// listedExchangeJSON is an exchange as it is listed.
type listedExchangeJSON struct {
	exchangeJSON
	LogTopic string `json:"log_topic,omitempty"` // that its messages are in
	Bindings int    `json:"bindings"`            // how many lead from it
}

// describedExchangeJSON is an exchange with its bindings.
type describedExchangeJSON struct {
	listedExchangeJSON
	BindingList []bindingJSON `json:"binding_list"` // that lead from it, or to it
}

func describeExchange(*flag.FlagSet) action {
	return func(ctx context.Context, s *session) error {
		v, err := s.exchange(ctx, s.args[0])
		if err != nil {
			return err
		}
		if s.json {
			return s.printJSON(v)
		}
		if err := table(s.out, append(v.rows(), row("log", v.LogTopic), row("bindings", v.Bindings))...); err != nil || len(v.BindingList) == 0 {
			return err
		}
		fmt.Fprintln(s.out)
		return s.showBindings(v.BindingList)
	}
}

func (s *session) exchange(ctx context.Context, name string) (v describedExchangeJSON, err error) {
	x, err := s.sys.Exchange(ctx, name)
	if err != nil {
		return v, err
	}
	v.exchangeJSON, v.BindingList = exchangeOf(name, x.Config()), []bindingJSON{}
	infos, err := s.sys.Exchanges(ctx)
	if err != nil {
		return v, err
	}
	for _, i := range infos {
		if i.Name == name {
			v.LogTopic = i.LogTopic
		}
	}
	bindings, err := s.sys.Bindings(ctx, "")
	for _, b := range bindings {
		if b.Exchange == name {
			v.Bindings++
		}
		if b.Exchange == name || b.ToExchange == name && name != "" {
			v.BindingList = append(v.BindingList, bindingOf(b))
		}
	}
	return v, err
}

// shownName is the name of an exchange for people.
func shownName(exchange string) string {
	if exchange == "" {
		return "(default)"
	}
	return exchange
}

func deleteExchange(f *flag.FlagSet) action {
	ifUnused := f.Bool("if-unused", false, "only if nothing is bound to it")
	return deletion("exchange", func(sys *actor.System, ctx context.Context, name string) error {
		return sys.DeleteExchange(ctx, name, *ifUnused)
	})
}
