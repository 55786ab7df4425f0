package route

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// What is wrong with a cookie.
var (
	errCookieForm    = errors.New("it is malformed")
	errCookieForeign = errors.New("none of the secrets has signed it")
	errCookieExpired = errors.New("it has expired")
)

// The value of a cookie is, in base64, its signature, when it expires (Unix time in
// milliseconds), and a position, which may be empty.
const (
	signatureSize = sha256.Size
	expirySize    = 8

	minSecret   = 32      // bytes
	maxPosition = 1 << 10 // bytes
)

// maxValue is how long the longest value is that is ever signed: base64 needs a
// character for six bits.
const maxValue = ((signatureSize+expirySize+maxPosition)*8 + 5) / 6

// signer signs and verifies the values of one cookie of one store.
type signer struct {
	keys [][]byte // the first signs, all verify

	// form is strict, so that a value has one spelling: bits that a decoder leaves unread
	// could be changed without the signature's noticing.
	form *base64.Encoding
}

// newSigner derives the keys: a value that was signed for another cookie, or for
// another store, is not valid for this one. Neither name can have a zero byte.
func newSigner(secrets [][]byte, cookie, store string) (*signer, error) {
	s := &signer{form: base64.RawURLEncoding.Strict()}
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, "failsoft route writes 1\x00"+cookie+"\x00"+store, sha256.Size)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, key)
	}
	return s, nil
}

// seal returns the value that says that a session has written up to a position, and is
// to be believed until expiry.
func (s *signer) seal(expiry time.Time, position string) string {
	raw := make([]byte, signatureSize, signatureSize+expirySize+len(position))
	raw = binary.BigEndian.AppendUint64(raw, uint64(expiry.UnixMilli()))
	raw = append(raw, position...)
	copy(raw, sign(s.keys[0], raw[signatureSize:]))
	return s.form.EncodeToString(raw)
}

// open returns the position in a value, or why it is not to be believed. What it says
// is looked at only after its signature.
func (s *signer) open(value string, now time.Time) (position string, err error) {
	if len(value) > maxValue {
		return "", errCookieForm
	}
	raw, err := s.form.DecodeString(value)
	// The decoder skips line ends, which would be a second spelling.
	if err != nil || len(raw) < signatureSize+expirySize || s.form.EncodedLen(len(raw)) != len(value) {
		return "", errCookieForm
	}
	signature, said := raw[:signatureSize], raw[signatureSize:]
	valid := false
	for _, key := range s.keys {
		valid = valid || hmac.Equal(signature, sign(key, said))
	}
	if !valid {
		return "", errCookieForeign
	}
	expiry := time.UnixMilli(int64(binary.BigEndian.Uint64(said))) //nolint:gosec // seal wrote it
	if !now.Before(expiry) {
		return "", errCookieExpired
	}
	return string(said[expirySize:]), nil
}

func sign(key, said []byte) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(said) // a hash never fails
	return mac.Sum(nil)
}
