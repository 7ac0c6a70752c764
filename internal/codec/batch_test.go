package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func someRecords() []Record {
	return []Record{
		{Key: []byte("k"), Value: []byte("v"), Time: 1700000000123},
		{Value: []byte{}, Time: NoTime},
		{Key: []byte{}, Time: -1},
		{Key: bytes.Repeat([]byte("k"), 300), Value: text(1000), Time: 0,
			Headers: []Header{{"traceparent", []byte("00-ab-cd-01")}, {"", nil}, {"x", []byte{}}, {"x", []byte("again")}}},
	}
}

// text returns n bytes that compress, but not too well.
func text(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "line %d;", i*i)
	}
	return b[:n]
}

func sectionOf(producer string, first uint64, rs ...Record) Section {
	s := Section{Producer: producer, Epoch: 3, First: first}
	for i := range rs {
		s.Add(&rs[i])
	}
	return s
}

func someBatch(t testing.TB, c Compression) []byte {
	t.Helper()
	rs := someRecords()
	info := BatchInfo{BaseOffset: 1000, Epoch: 7, AppendTime: 1700000000999, Compression: c}
	b, err := AppendBatch(nil, &info, []Section{sectionOf("p", 5, rs[:2]...), sectionOf("", 0, rs[2:]...)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readAll(t testing.TB, b []byte) (BatchInfo, []Record) {
	t.Helper()
	batch, err := OpenBatch(b, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	var out []Record
	for {
		var r Record
		if !batch.Next(&r) {
			break
		}
		out = append(out, r)
	}
	if err := batch.Err(); err != nil {
		t.Fatal(err)
	}
	return batch.Info, out
}

func sameRecord(a, b Record) bool {
	sameBytes := func(x, y []byte) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) }
	return a.Time == b.Time && sameBytes(a.Key, b.Key) && sameBytes(a.Value, b.Value) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y Header) bool { return x.Key == y.Key && sameBytes(x.Value, y.Value) })
}

func TestBatchHoldsWhatWasPutIn(t *testing.T) {
	for _, c := range []Compression{None, S2, Zstd} {
		info, got := readAll(t, someBatch(t, c))
		if !slices.EqualFunc(got, someRecords(), sameRecord) {
			t.Errorf("compression %d: got other records", c)
		}
		want := BatchInfo{BaseOffset: 1000, Count: 4, Epoch: 7, AppendTime: 1700000000999, MaxTime: 1700000000123,
			RecordBytes: info.RecordBytes, Compression: info.Compression,
			Sections: []SectionInfo{{"p", 3, 5, 2}, {"", 3, 0, 2}}}
		if fmt.Sprint(info) != fmt.Sprint(want) {
			t.Errorf("info = %+v, want %+v", info, want)
		}
	}
}

func TestBatchIsWhatMsgpackReads(t *testing.T) {
	type header struct {
		_msgpack struct{} `msgpack:",as_array"` //lint:ignore U1000 the library looks for it
		Key      string
		Value    []byte
	}
	type record struct {
		_msgpack   struct{} `msgpack:",as_array"` //lint:ignore U1000 the library looks for it
		Key, Value []byte
		Headers    []header
		Time       *int64
	}
	for _, want := range someRecords() {
		var r record
		if err := msgpack.Unmarshal(AppendRecord(nil, &want), &r); err != nil {
			t.Fatal(err)
		}
		got := Record{Key: r.Key, Value: r.Value, Time: NoTime}
		if r.Time != nil {
			got.Time = *r.Time
		}
		for _, h := range r.Headers {
			got.Headers = append(got.Headers, Header{h.Key, h.Value})
		}
		if !sameRecord(got, want) {
			t.Errorf("the library read %+v, want %+v", got, want)
		}
		theirs, err := msgpack.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		var back Record
		if end := parseRecord(theirs, 0, &back); end != len(theirs) || !sameRecord(back, want) {
			t.Errorf("of the library's bytes we read %+v up to %d of %d", back, end, len(theirs))
		}
	}
	var outer []any // trusted bytes
	if err := msgpack.Unmarshal(someBatch(t, None), &outer); err != nil || len(outer) != 4 {
		t.Fatalf("the frame is no msgpack array of 4: %v, %v", outer, err)
	}
	var head []any
	if err := msgpack.Unmarshal(outer[2].([]byte), &head); err != nil || len(head) != 9 {
		t.Fatalf("the head is no msgpack array of 9: %v, %v", head, err)
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	rs := someRecords()[:3]
	for _, c := range []Compression{None, S2, Zstd} {
		big := sectionOf("p", 5, append(rs, Record{Value: bytes.Repeat([]byte("abcd"), 40), Time: 5})...)
		b, err := AppendBatch(nil, &BatchInfo{BaseOffset: 3, Compression: c}, []Section{big})
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b) * 8 {
			bad := bytes.Clone(b)
			bad[i/8] ^= 1 << (i % 8)
			if _, err := OpenBatch(bad, DefaultLimits()); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("compression %d, bit %d of byte %d: %v", c, i%8, i/8, err)
			}
		}
		for n := range len(b) {
			if _, err := OpenBatch(b[:n:n], DefaultLimits()); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("compression %d, cut to %d of %d bytes: %v", c, n, len(b), err)
			}
		}
		if _, err := OpenBatch(append(bytes.Clone(b), 0), DefaultLimits()); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a trailing byte: %v", err)
		}
	}
}

func TestInfoIsTrustedWithoutTheRecords(t *testing.T) {
	b := someBatch(t, None)
	want, err := ReadInfo(b, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	_, body, err := readHead(b, &Limits{BatchBytes: 1 << 20, BatchRecords: 10, SectionsPerBatch: 10, ProducerBytes: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range body * 8 {
		bad := bytes.Clone(b)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := ReadInfo(bad, DefaultLimits()); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i/8, err)
		}
	}
	b[len(b)-1] ^= 1
	if got, err := ReadInfo(b, DefaultLimits()); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ReadInfo of a batch with damaged records: %v, %v", got, err)
	}
}

// reseal makes the checksums of b fit its content again.
func reseal(b []byte) []byte {
	headEnd := atHead + int(binary.BigEndian.Uint32(b[atHeadSize:]))
	binary.BigEndian.PutUint32(b[headEnd-4:], crc32.Checksum(b[headEnd+5:], castagnoli))
	binary.BigEndian.PutUint32(b[atHeadSum:], headSum(b, headEnd))
	return b
}

func TestNewerVersionIsNotDamage(t *testing.T) {
	b := someBatch(t, None)
	b[atVersion] = Version + 1
	_, err := OpenBatch(reseal(b), DefaultLimits())
	if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Errorf("err = %v", err)
	}
}

func TestLyingHeadsAreRefused(t *testing.T) {
	lie := func(change func(*BatchInfo)) []byte {
		rs := someRecords()
		s := sectionOf("p", 5, rs[:3]...)
		info := BatchInfo{BaseOffset: 1}
		summarize(&info, []Section{s})
		change(&info)
		b := []byte{mpFixArray | 4, versionDense, mpUint32, 0, 0, 0, 0, mpBin32, 0, 0, 0, 0}
		b = appendHead(b, &info)
		headEnd := len(b)
		b = append(append(b, mpBin32, 0, 0, 0, 0), s.Records...)
		seal(b, headEnd, headEnd+5)
		return b
	}
	for name, c := range map[string]struct {
		change func(*BatchInfo)
		want   error
	}{
		"too many records":   {func(i *BatchInfo) { i.Count = 1 << 21 }, ErrLimit},
		"sections disagree":  {func(i *BatchInfo) { i.Count = 2 }, ErrCorrupt},
		"bytes disagree":     {func(i *BatchInfo) { i.RecordBytes++ }, ErrCorrupt},
		"too many bytes":     {func(i *BatchInfo) { i.RecordBytes = 9 << 20 }, ErrLimit},
		"offset overflow":    {func(i *BatchInfo) { i.BaseOffset = ^uint64(0) }, ErrCorrupt},
		"unknown compressor": {func(i *BatchInfo) { i.Compression = 9 }, ErrCorrupt},
		"s2 bomb":            {func(i *BatchInfo) { i.Compression = S2; i.RecordBytes = 8 << 20 }, ErrLimit},
		"zstd bomb":          {func(i *BatchInfo) { i.Compression = Zstd; i.RecordBytes = 8 << 20 }, ErrLimit},
		"not zstd":           {func(i *BatchInfo) { i.Compression = Zstd }, ErrCorrupt},
		"not s2":             {func(i *BatchInfo) { i.Compression = S2 }, ErrCorrupt},
		"long producer":      {func(i *BatchInfo) { i.Sections[0].Producer = strings.Repeat("p", 300) }, ErrLimit},
	} {
		if _, err := OpenBatch(lie(c.change), DefaultLimits()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	more := lie(func(i *BatchInfo) { i.Count, i.Sections[0].Count = 4, 4 })
	batch, err := OpenBatch(more, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	for batch.Next(&r) {
	}
	if !errors.Is(batch.Err(), ErrCorrupt) {
		t.Errorf("a missing record: %v", batch.Err())
	}
}

func TestWhatShrinksTooMuchIsStoredPlain(t *testing.T) {
	s := sectionOf("", 0, Record{Value: make([]byte, 1<<20), Time: NoTime})
	info := BatchInfo{Compression: Zstd}
	b, err := AppendBatch(nil, &info, []Section{s})
	if err != nil || info.Compression != None {
		t.Fatalf("compression = %d, %v", info.Compression, err)
	}
	if _, got := readAll(t, b); len(got) != 1 || len(got[0].Value) != 1<<20 {
		t.Error("the record is not what it was")
	}
}

func TestNamesOfCompressions(t *testing.T) {
	if got := fmt.Sprint(None, S2, Zstd, Compression(9)); got != "none s2 zstd compression 9" {
		t.Errorf("they are called %s", got)
	}
}

func TestSkipAndOffset(t *testing.T) {
	b := someBatch(t, S2)
	for n := range 6 {
		batch, err := OpenBatch(b, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.Skip(n); err != nil {
			t.Fatal(err)
		}
		if want := uint64(1000 + min(n, 4)); batch.Offset() != want {
			t.Errorf("after Skip(%d) the offset is %d, want %d", n, batch.Offset(), want)
		}
		var r Record
		if ok := batch.Next(&r); ok != (n < 4) || ok && !sameRecord(r, someRecords()[n]) {
			t.Errorf("after Skip(%d) Next gave %v %+v", n, ok, r)
		}
	}
}

func TestEmptyBatch(t *testing.T) {
	for _, c := range []Compression{None, S2, Zstd} {
		b, err := AppendBatch([]byte("before"), &BatchInfo{BaseOffset: 4, Compression: c}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if info, rs := readAll(t, b[len("before"):]); info.Count != 0 || info.MaxTime != NoTime || len(rs) != 0 {
			t.Errorf("%+v, %v", info, rs)
		}
	}
}

func TestAppendBatchChecksLimits(t *testing.T) {
	huge := Section{Count: 1, Records: make([]byte, 9<<20)}
	many := make([]Section, 70_000)
	for i := range many {
		many[i] = sectionOf("p", uint64(2*i), Record{})
	}
	for name, c := range map[string][]Section{
		"BatchBytes":       {huge},
		"SectionsPerBatch": many,
		"BatchRecords":     {{Count: 2 << 20, Records: make([]byte, 7<<20)}},
		"ProducerBytes":    {sectionOf(strings.Repeat("p", 257), 0, Record{})},
	} {
		b, err := AppendBatch([]byte("before"), &BatchInfo{}, c)
		if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), name) || string(b) != "before" {
			t.Errorf("%s: %q, %v", name, b[:min(len(b), 10)], err)
		}
	}
}

func TestSectionsThatContinueAreOne(t *testing.T) {
	r := Record{}
	info := BatchInfo{}
	_, err := AppendBatch(nil, &info, []Section{
		sectionOf("p", 5, r, r), sectionOf("p", 7, r), sectionOf("p", 9, r),
		sectionOf("", 0, r), sectionOf("", 0, r), sectionOf("q", 1, r),
	})
	want := []SectionInfo{{"p", 3, 5, 3}, {"p", 3, 9, 1}, {"", 3, 0, 2}, {"q", 3, 1, 1}}
	if err != nil || !slices.Equal(info.Sections, want) {
		t.Errorf("%v, %v", info.Sections, err)
	}
}

func TestLimitsCheck(t *testing.T) {
	l := Limits{RecordBytes: 10, KeyBytes: 4, HeaderCount: 2, HeaderBytes: 6}
	for name, r := range map[string]Record{
		"":            {Key: []byte("four"), Value: []byte("four"), Headers: []Header{{"a", []byte("b")}}},
		"KeyBytes":    {Key: []byte("fiver")},
		"RecordBytes": {Key: []byte("four"), Value: []byte("seven..")},
		"HeaderCount": {Headers: make([]Header, 3)},
		"HeaderBytes": {Headers: []Header{{"abcd", []byte("efg")}}},
	} {
		err := l.Check(&r)
		if name == "" && err != nil || name != "" && (!errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The bytes of stored batches may never change their meaning.
func TestGoldenBatch(t *testing.T) {
	for name, c := range map[string]Compression{"batch-v1-none": None, "batch-v1-s2": S2, "batch-v1-zstd": Zstd} {
		path := filepath.Join("testdata", name+".bin")
		if *rewrite {
			if err := os.WriteFile(path, someBatch(t, c), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, got := readAll(t, b)
		if info.Compression != c || info.BaseOffset != 1000 || !slices.EqualFunc(got, someRecords(), sameRecord) {
			t.Errorf("%s: reads as %+v", name, info)
		}
		if c == None && !bytes.Equal(b, someBatch(t, c)) {
			t.Errorf("%s: the same batch is now written differently", name)
		}
	}
}

func genBytes(t *rapid.T, name string) []byte {
	switch rapid.IntRange(0, 20).Draw(t, name+" kind") {
	case 0, 1, 2:
		return nil
	case 3:
		return text(rapid.IntRange(65_530, 65_540).Draw(t, name+" size"))
	case 4:
		return rapid.SliceOfN(rapid.Byte(), 250, 300).Draw(t, name)
	default:
		return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, name)
	}
}

func genRecord(t *rapid.T) Record {
	r := Record{Key: genBytes(t, "key"), Value: genBytes(t, "value"), Time: rapid.Int64().Draw(t, "time")}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		r.Headers = append(r.Headers, Header{rapid.String().Draw(t, "name"), genBytes(t, "header")})
	}
	return r
}

func TestAnyRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		info := BatchInfo{BaseOffset: rapid.Uint64Max(1<<62).Draw(t, "base"), Epoch: rapid.Uint64().Draw(t, "epoch"),
			AppendTime: rapid.Int64().Draw(t, "append"), Compression: Compression(rapid.IntRange(0, 2).Draw(t, "compression"))}
		var sections []Section
		var want []Record
		for range rapid.IntRange(0, 3).Draw(t, "sections") {
			rs := rapid.SliceOfN(rapid.Custom(genRecord), 0, 8).Draw(t, "records")
			sections = append(sections, sectionOf(rapid.StringN(0, 5, 20).Draw(t, "producer"), rapid.Uint64().Draw(t, "first"), rs...))
			want = append(want, rs...)
		}
		b, err := AppendBatch(nil, &info, sections)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := OpenBatch(b, DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(batch.Info.Sections, info.Sections) || batch.Info.MaxTime != info.MaxTime {
			t.Fatalf("info %+v, want %+v", batch.Info, info)
		}
		var r Record
		for i := 0; batch.Next(&r); i++ {
			if !sameRecord(r, want[i]) {
				t.Fatalf("record %d is %+v, want %+v", i, r, want[i])
			}
		}
		if batch.Err() != nil || batch.Offset() != info.BaseOffset+uint64(len(want)) {
			t.Fatalf("ended at %d: %v", batch.Offset(), batch.Err())
		}
	})
}

// Whatever the bytes are: no panic, and no more memory than the limits allow.
func FuzzOpenBatch(f *testing.F) {
	for _, c := range []Compression{None, S2, Zstd} {
		f.Add(someBatch(f, c), false)
		f.Add(someBatch(f, c), true)
	}
	l := DefaultLimits()
	l.BatchBytes = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix && len(b) > atHead+5 {
			if size := binary.BigEndian.Uint32(b[atHeadSize:]); size >= 5 && int64(size) < int64(len(b)-atHead-5) {
				b = reseal(bytes.Clone(b))
			}
		}
		allocated := allocatedBy(func() {
			batch, err := OpenBatch(b, l)
			if err != nil {
				return
			}
			var r Record
			n := 0
			for batch.Next(&r) {
				n++
			}
			if batch.Err() == nil && n != batch.Info.Count {
				t.Fatalf("%d records of %d", n, batch.Info.Count)
			}
		})
		if budget := uint64(16*l.BatchBytes + 64*len(b)); allocated > budget {
			t.Fatalf("%d bytes were allocated for %d bytes of input", allocated, len(b))
		}
	})
}

func BenchmarkAppendRecord(b *testing.B) {
	r := Record{Value: make([]byte, 100), Time: 1700000000000}
	dst := make([]byte, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		if len(dst) > 1<<20-200 {
			dst = dst[:0]
		}
		dst = AppendRecord(dst, &r)
	}
}

func benchSections(n int) []Section {
	r := Record{Value: make([]byte, 100), Time: 1700000000000}
	s := Section{}
	for range n {
		s.Add(&r)
	}
	return []Section{s}
}

func BenchmarkAppendBatch(b *testing.B) {
	sections := benchSections(2000)
	var info BatchInfo
	var dst []byte
	b.SetBytes(int64(len(sections[0].Records)))
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = AppendBatch(dst[:0], &info, sections)
	}
}

func BenchmarkReplay(b *testing.B) {
	raw, _ := AppendBatch(nil, &BatchInfo{}, benchSections(2000))
	l := DefaultLimits()
	var batch Batch
	var r Record
	b.ReportAllocs()
	for b.Loop() {
		if err := batch.Open(raw, l); err != nil {
			b.Fatal(err)
		}
		for batch.Next(&r) {
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/record")
}

func TestRoomForABatchMakesNoDifference(t *testing.T) {
	var sections []Section
	for i := range 3 {
		var s Section
		for j := range i + 1 {
			s.Add(&Record{Value: bytes.Repeat([]byte{byte(j)}, 100), Time: int64(j)})
		}
		sections = append(sections, s)
	}
	for _, room := range []int{0, 50, 200, 300, 5000} {
		dst, info := append(make([]byte, 0, room+6), "before"...), BatchInfo{}
		got, err := AppendBatch(dst, &info, sections)
		want, wantErr := AppendBatch(nil, &BatchInfo{}, sections)
		if err != nil || wantErr != nil || string(got) != "before"+string(want) {
			t.Errorf("room for %d: %v, %v, %d bytes and %d", room, err, wantErr, len(got), len(want))
		}
	}
}

func TestASectionAtATime(t *testing.T) {
	s := sectionOf("p", 5, someRecords()...)
	before := slices.Clone(s.Records)
	at, err := s.At(77)
	if err != nil || at.Count != s.Count || at.Producer != "p" || at.Epoch != s.Epoch || at.First != 5 || at.MaxTime != 77 || !bytes.Equal(s.Records, before) {
		t.Fatalf("%+v, %v", at, err)
	}
	b, err := AppendBatch(nil, new(BatchInfo), []Section{at})
	if err != nil {
		t.Fatal(err)
	}
	want := someRecords()
	for i := range want {
		want[i].Time = 77
	}
	if _, got := readAll(t, b); !slices.EqualFunc(got, want, sameRecord) {
		t.Errorf("it reads %+v", got)
	}
	for _, bad := range []Section{{Count: 1, Records: []byte{1}}, {Count: 3, Records: s.Records}} {
		if _, err := bad.At(1); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a section that is malformed: %v", err)
		}
	}
}
