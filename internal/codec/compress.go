package codec

import (
	"strconv"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Encoders and decoders of zstd are used by one call at a time, and built when
// first needed. A decoder holds at most one batch.
var (
	zstdEncoders = sync.Pool{New: func() any {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithSingleSegment(true)) // so that every frame declares its size
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	}}
	zstdDecoders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic(err)
		}
		return d
	}}
	scratch = sync.Pool{New: func() any { return new(packBuffers) }}
)

type packBuffers struct{ plain, packed []byte }

// pack compresses the records of the sections as info asks, and returns nil
// when they are better stored as they are: when that is no larger, or when they
// shrink so much that a reader would take the result for a bomb. The bytes are
// valid until release is called.
func pack(info *BatchInfo, sections []Section, l *Limits) (packed []byte, release func()) {
	if info.Compression == None {
		return nil, func() {}
	}
	buf := scratch.Get().(*packBuffers)
	buf.plain = buf.plain[:0]
	for i := range sections {
		buf.plain = append(buf.plain, sections[i].Records...)
	}
	buf.packed = deflate(buf.packed[:0], buf.plain, info.Compression)
	packed = buf.packed
	if len(packed) >= len(buf.plain) || isBomb(len(packed), len(buf.plain), l) {
		info.Compression, packed = None, nil
	}
	return packed, func() { scratch.Put(buf) }
}

func deflate(dst, plain []byte, c Compression) []byte {
	if c == S2 {
		return s2.Encode(dst[:cap(dst)], plain)
	}
	e := zstdEncoders.Get().(*zstd.Encoder)
	defer zstdEncoders.Put(e)
	return e.EncodeAll(plain, dst)
}

func isBomb(packed, plain int, l *Limits) bool {
	return plain/max(l.CompressionRatio, 1) > packed
}

// inflate undoes deflate. It allocates exactly size bytes, after what the
// compressed bytes say of themselves was held against size and the ratio.
func inflate(packed []byte, c Compression, size int, l *Limits) ([]byte, error) {
	if isBomb(len(packed), size, l) {
		return nil, overLimit("the batch", "uncompressed bytes for "+strconv.Itoa(len(packed))+" stored ones", size,
			"CompressionRatio", l.CompressionRatio)
	}
	if declared, ok := declaredSize(packed, c); !ok || declared != uint64(size) {
		return nil, corrupt("the batch", 0, "its records say they have %d uncompressed bytes, its header %d", declared, size)
	}
	plain, err := inflateInto(make([]byte, 0, size), packed, c)
	if err != nil || len(plain) != size {
		return nil, corrupt("the batch", 0, "decompressing gave %d of %d bytes (%v)", len(plain), size, err)
	}
	return plain, nil
}

func declaredSize(packed []byte, c Compression) (uint64, bool) {
	if c == S2 {
		n, err := s2.DecodedLen(packed)
		return uint64(max(n, 0)), err == nil
	}
	var h zstd.Header
	if err := h.Decode(packed); err != nil || !h.HasFCS {
		return 0, false
	}
	return h.FrameContentSize, true
}

func inflateInto(dst, packed []byte, c Compression) ([]byte, error) {
	if c == S2 {
		return s2.Decode(dst[:cap(dst)], packed)
	}
	d := zstdDecoders.Get().(*zstd.Decoder)
	defer zstdDecoders.Put(d)
	return d.DecodeAll(packed, dst)
}
