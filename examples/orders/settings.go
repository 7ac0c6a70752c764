package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
)

const usage = `orders runs a company that sells things, from the order to the invoice, in one
process. A shop publishes orders to a topic. Two jobs read it, which compute revenue
per minute and look for fraud, and a consumer group, which charges each order and
publishes tasks for workers: e-mails, which fail now and then and are tried again, and
invoices, some of which cannot be made and are given up.

It ends by itself, prints what became of all orders, and writes results as JSON lines
to the directory results below -data: revenue, alerts, tasks, and what the bank and the
mail server were asked to do.

With -data, a run that was ended at any moment, by kill -9 too, is continued by running
the same command again. Nothing is lost, nothing charged or mailed twice.

`

// settings are what the flags say.
type settings struct {
	shop  shop
	rate  float64
	data  string // "" for a temporary directory
	json  bool
	graph bool
}

// ordersMax keeps the numbers of orders to the six digits of their ids.
const ordersMax = 999_999

func parseFlags(args []string, help io.Writer) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("orders", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&s.shop.orders, "n", 5000, "how many `orders` there are")
	f.Uint64Var(&s.shop.seed, "seed", 1, "`number` from which everything about the orders follows")
	f.Float64Var(&s.rate, "rate", 0, "`orders` a second; 0 for as many as it can")
	f.StringVar(&s.data, "data", "", "`directory` of everything, made if need be (default: a temporary one, of which the results stay)")
	f.BoolVar(&s.json, "json", false, "print the summary as JSON: one object, the last line")
	f.BoolVar(&s.graph, "graph", false, "only draw who gives what to whom, for Mermaid")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(help, usage)
			f.SetOutput(help)
			f.PrintDefaults()
		}
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is not a flag", f.Arg(0))
	case s.shop.orders < 1 || s.shop.orders > ordersMax:
		return nil, fmt.Errorf("-n is %d: it must be 1 to %d", s.shop.orders, ordersMax)
	case !(s.rate >= 0 && s.rate <= math.MaxInt32): // so that NaN is none
		return nil, fmt.Errorf("-rate is %v: it must be a number of orders a second, or 0 for as many as it can", s.rate)
	}
	return s, nil
}

// results and store are where things are below the directory of the data.
func (s *settings) results() string { return filepath.Join(s.data, "results") }
func (s *settings) store() string   { return filepath.Join(s.data, "store") }

// prepare makes the directories, and sees to it that a directory is used for one shop.
func (s *settings) prepare() error {
	if err := os.MkdirAll(s.results(), 0o700); err != nil {
		return fmt.Errorf("-data %s cannot be made, name a place where it can: %w", s.data, err)
	}
	path := filepath.Join(s.data, "shop.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return writeLines(path, []shopJSON{s.shop.json()})
	}
	var was shopJSON
	if err == nil {
		err = json.Unmarshal(text, &was)
	}
	if err != nil {
		return fmt.Errorf("%s does not say whose orders these are, name another directory with -data: %w", path, err)
	}
	if was != s.shop.json() {
		return fmt.Errorf("-data %s holds what was begun with -n %d -seed %d: say the same, or name another directory", s.data, was.Orders, was.Seed)
	}
	return nil
}

type shopJSON struct {
	Orders int    `json:"orders"`
	Seed   uint64 `json:"seed"`
}

func (s shop) json() shopJSON { return shopJSON{s.orders, s.seed} }
