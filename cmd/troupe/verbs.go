package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage"
)

// dataVariable names the data directory where -data does not.
const dataVariable = "TROUPE_DATA"

// verb is something that can be done to topics, groups, exchanges or queues.
type verb struct {
	name     string // with its family
	args     string // for people: what stands behind the name
	takes    int    // how many of them there are
	optional int    // how many of them more there may be
	about    string
	creates  bool // the data directory, if there is none
	// define declares the options and returns what is done with them.
	define func(*flag.FlagSet) action
}

// action carries a verb out.
type action func(context.Context, *session) error

// session is a data directory in the hands of a verb.
type session struct {
	verb      *verb
	sys       *actor.System
	args      []string
	json      bool
	in        io.Reader
	out, errs io.Writer
}

// System makes it a topics.Engine.
func (s *session) System() *actor.System { return s.sys }

// verbs are all there are, in the order in which they are shown.
func verbs() []*verb {
	return slices.Concat(topicVerbs(), []*verb{produceVerb(), consumeVerb()}, groupVerbs(), moveVerbs(), parkVerbs(), exchangeVerbs(), queueVerbs(), queueStateVerbs(), publishVerbs(), peekVerbs(), queueMoveVerbs(), []*verb{queueReplayVerb(), getVerb()})
}

// family runs a verb of topics, groups, exchanges or queues.
func (c *cli) family(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) > 1 && slices.Contains([]string{"-h", "-help", "--help", "help"}, args[1]) {
		_, err := io.WriteString(out, familyUsage(args[0]))
		return err
	}
	v, rest := find(args)
	if v == nil {
		return missing(args)
	}
	return c.verb(ctx, v, rest, out, errs)
}

// missing says what is wrong with a command line that begins with no verb.
func missing(args []string) error {
	words := 2
	if len(args) > 1 && (args[1] == "park" || args[1] == "dlq") {
		words = 3
	}
	if len(args) < words {
		return verbError{strings.Join(args, " ") + ": which verb?", familyUsage(args[0])}
	}
	var all []string
	for _, v := range verbs() {
		if name, is := strings.CutPrefix(v.name, args[0]+" "); is {
			all = append(all, name)
		}
	}
	return verbError{fmt.Sprintf("there is no command %q", strings.Join(args[:words], " ")),
		fmt.Sprintf("  troupe %s has %s; -h says what they do\n", args[0], strings.Join(all, ", "))}
}

// find returns the verb that a command line begins with, and what follows.
func find(args []string) (v *verb, rest []string) {
	for _, v := range verbs() {
		words := strings.Fields(v.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return v, args[len(words):]
		}
	}
	return nil, nil
}

func familyUsage(family string) string {
	var b strings.Builder
	for _, v := range verbs() {
		if strings.HasPrefix(v.name, family+" ") {
			fmt.Fprintf(&b, "  %-46s %s\n", strings.TrimSpace("troupe "+v.name+" "+v.args), v.about)
		}
	}
	fmt.Fprintf(&b, "\nEach takes -data DIR (or %s), -json and -h.\n", dataVariable)
	return b.String()
}

// line shows a command line of a verb.
func (v *verb) line() string {
	return "  " + strings.TrimSpace("troupe "+v.name+" "+v.args) + " [options]\n"
}

// usage is the help of a verb.
func (v *verb) usage(f *flag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n", v.line(), v.about)
	f.SetOutput(&b)
	f.PrintDefaults()
	f.SetOutput(io.Discard)
	return b.String()
}

func newFlags(v *verb) *flag.FlagSet {
	f := flag.NewFlagSet(v.name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// verb reads the options of a verb, opens the data directory and carries it out.
func (c *cli) verb(ctx context.Context, v *verb, args []string, out, errs io.Writer) error {
	f := newFlags(v)
	data := f.String("data", "", "the data `directory`; default: that of "+dataVariable)
	asJSON := f.Bool("json", false, "print JSON, for programs")
	act := v.define(f)
	names, err := parse(f, args)
	*data = cmp.Or(*data, os.Getenv(dataVariable))
	mistake := func(format string, args ...any) error {
		return verbError{v.name + ": " + fmt.Sprintf(format, args...), v.line() + "  -h shows the options\n"}
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(out, v.usage(f))
		return err
	case err != nil:
		return mistake("%v", err)
	case len(names) < v.takes:
		return mistake("%s is missing", v.args)
	case len(names) > v.takes+v.optional:
		return mistake("it takes no argument %q", names[v.takes+v.optional])
	case *data == "":
		return mistake("which data directory? Say -data, or set %s", dataVariable)
	}
	s := &session{verb: v, args: names, json: *asJSON, in: c.in, out: out, errs: errs}
	err = s.within(ctx, *data, act)
	var wrong mistaken
	if errors.As(err, &wrong) {
		return mistake("%v", err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.name, err)
	}
	return nil
}

// mistaken is what an action finds wrong with its options.
type mistaken struct{ text string }

func (e mistaken) Error() string { return e.text }

func mistakef(format string, args ...any) error { return mistaken{fmt.Sprintf(format, args...)} }

// parse reads options, which may stand before names or behind them.
func parse(f *flag.FlagSet, args []string) (names []string, err error) {
	for len(args) > 0 {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if args = f.Args(); len(args) > 0 {
			names, args = append(names, args[0]), args[1:]
		}
	}
	return names, nil
}

// there reports whether a directory is a data directory: to open another would make
// it one.
func there(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return errors.Unwrap(err)
	}
	_, err := os.Stat(filepath.Join(dir, "troupe.json"))
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("it is none, for it has no troupe.json: name another, or begin one with troupe topic create, exchange declare or queue declare")
	}
	return errors.Unwrap(err)
}

// within carries an action out in a data directory.
func (s *session) within(ctx context.Context, dir string, act action) (err error) {
	if err := there(dir); err != nil && !s.verb.creates {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	log := slog.New(slog.NewTextHandler(s.errs, &slog.HandlerOptions{Level: slog.LevelError}))
	store, err := storage.Open(ctx, dir, storage.Options{Logger: log})
	if err != nil {
		return err
	}
	s.sys = actor.NewSystem(store, actor.WithLogger(log))
	defer func() {
		err = errors.Join(err, s.sys.Close(context.WithoutCancel(ctx)), store.Close())
	}()
	return act(ctx, s)
}
