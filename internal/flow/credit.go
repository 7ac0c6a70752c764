// Package flow is the demand protocol on the edges between actors.
//
// The receiver grants absolute demand: "you may have sent up to parcel N and up
// to byte B since this session began". A grant that is lost, repeated or
// overtaken does no harm, because the next one says the same and more; credit
// given in increments would leak with the first lost message. A session is the
// life of one connection: what belongs to an older one is ignored.
package flow

// Window is how much may be under way on one channel.
type Window struct {
	Parcels int // batches, watermarks, barriers
	Bytes   int
}

// DefaultWindow allows 16 parcels and 4 MiB on every channel.
var DefaultWindow = Window{Parcels: 16, Bytes: 4 << 20}

// Grant is absolute demand.
type Grant struct {
	Session uint64
	Parcels uint64
	Bytes   uint64
}

// Sender is the sending end of a channel.
type Sender struct {
	granted Grant
	parcels uint64
	bytes   uint64
}

// NewSender returns a sender whose receiver has granted one window.
func NewSender(session uint64, w Window) Sender {
	return Sender{granted: Grant{Session: session, Parcels: uint64(w.Parcels), Bytes: uint64(w.Bytes)}}
}

// Open says whether another parcel may be sent. A parcel may pass the limit of
// bytes, so that one larger than the window gets through alone.
func (s *Sender) Open() bool { return s.parcels < s.granted.Parcels && s.bytes < s.granted.Bytes }

// Sent notes that a parcel was sent.
func (s *Sender) Sent(bytes int) {
	s.parcels++
	s.bytes += uint64(bytes)
}

// Granted takes a grant. Grants of another session, and grants that say less
// than an earlier one, are ignored.
func (s *Sender) Granted(g Grant) {
	if g.Session != s.granted.Session {
		return
	}
	s.granted.Parcels = max(s.granted.Parcels, g.Parcels)
	s.granted.Bytes = max(s.granted.Bytes, g.Bytes)
}

// Available is how many parcels may still be sent.
func (s *Sender) Available() int { return int(s.granted.Parcels - min(s.parcels, s.granted.Parcels)) }

// Receiver is the receiving end of a channel.
type Receiver struct {
	window  Window
	granted Grant // what the sender was last told
	parcels uint64
	bytes   uint64
}

// NewReceiver returns a receiver that has granted one window.
func NewReceiver(session uint64, w Window) Receiver {
	return Receiver{window: w, granted: Grant{Session: session, Parcels: uint64(w.Parcels), Bytes: uint64(w.Bytes)}}
}

// Consumed notes that a parcel was dealt with. It returns a new grant once half
// a window has been used up since the last one.
func (r *Receiver) Consumed(bytes int) (g Grant, due bool) {
	r.parcels++
	r.bytes += uint64(bytes)
	left := r.granted.Parcels - r.parcels
	// A parcel may be larger than the window, so the sender can be past its grant.
	leftBytes := int64(r.granted.Bytes) - int64(r.bytes)
	if left > uint64(r.window.Parcels/2) && leftBytes > int64(r.window.Bytes/2) {
		return Grant{}, false
	}
	return r.Grant(), true
}

// Grant returns the demand as it stands: for repeating it.
func (r *Receiver) Grant() Grant {
	r.granted.Parcels = r.parcels + uint64(r.window.Parcels)
	r.granted.Bytes = r.bytes + uint64(r.window.Bytes)
	return r.granted
}
