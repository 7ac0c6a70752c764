package main

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestDocsNameEverything: what other programs rely on is documented.
func TestDocsNameEverything(t *testing.T) {
	b, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, v := range []any{settingsJSON{}, retentionJSON{}, compactionJSON{}, topicJSON{}, partitionJSON{}, purgedJSON{}, wentJSON{},
		recordJSON{}, headerJSON{}, groupJSON{}, groupDetailJSON{}, memberJSON{}, groupPartitionJSON{}, planJSON{}, changeJSON{},
		parkedJSON{}, parkedRecordJSON{}, exchangeJSON{}, dedupJSON{}, listedExchangeJSON{}, describedExchangeJSON{}, bindingJSON{}, typedValueJSON{},
		queueJSON{}, retryJSON{}, countsJSON{}, listedQueueJSON{}, describedQueueJSON{}, guaranteeJSON{}, publishedJSON{}, messageJSON{}, deliveredJSON{}, peekedJSON{}, movedJSON{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && !strings.Contains(text, "`"+name+"`") {
				t.Errorf("docs/cli.md does not name the field %s of %T", name, v)
			}
		}
	}
	for _, v := range verbs() {
		f := newFlags(v)
		v.define(f)
		f.VisitAll(func(o *flag.Flag) {
			if !strings.Contains(text, "`-"+o.Name) {
				t.Errorf("docs/cli.md does not name the option -%s of troupe %s", o.Name, v.name)
			}
		})
	}
}
