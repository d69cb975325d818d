"""The arithmetic between samples, feature frames, encoder frames and milliseconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeatureGeometry:
    """How a model cuts audio into feature frames (one a hop) and encoder frames.

    Feature frame t is a window of `window_samples` centred on sample `t * hop_samples`, the
    audio being preceded and followed by zeros: `torch.stft(center=True)`, as NeMo computes it.
    """

    sample_rate_hertz: int
    hop_samples: int
    window_samples: int
    subsampling: int
    """Feature frames per encoder frame."""

    @property
    def half_window_samples(self) -> int:
        """Samples a feature frame needs on either side of its centre."""
        return self.window_samples // 2

    @property
    def voice_window_samples(self) -> int:
        """Samples of each window that voice activity is told of: 32 ms, as Silero's VAD wants."""
        return self.samples_of_ms(32)

    @property
    def encoder_frame_samples(self) -> int:
        """Samples one encoder frame advances."""
        return self.hop_samples * self.subsampling

    @property
    def encoder_frame_ms(self) -> int:
        """Milliseconds one encoder frame advances; 80 for every model of the project."""
        return 1000 * self.encoder_frame_samples // self.sample_rate_hertz

    def samples_of_ms(self, milliseconds: int) -> int:
        """Samples in so many milliseconds, rounded down."""
        return milliseconds * self.sample_rate_hertz // 1000

    def complete_feature_frames(self, n_samples: int) -> int:
        """Feature frames whose whole window lies within the first n_samples of a live stream."""
        if n_samples < self.half_window_samples:
            return 0
        return (n_samples - self.half_window_samples) // self.hop_samples + 1

    def total_feature_frames(self, n_samples: int) -> int:
        """Feature frames of a recording that ends after n_samples (NeMo: `get_seq_len`)."""
        return n_samples // self.hop_samples


@dataclass(frozen=True, slots=True)
class ChunkGeometry:
    """How a look-ahead cuts a stream into chunks of `chunk_frames` encoder frames.

    The first chunk is shorter than the rest: the causal subsampling computes encoder frame i from
    feature frames up to `subsampling * i`, so the first encoder frame needs one feature frame only
    (NeMo: `streaming_cfg.chunk_size` is a pair).
    """

    features: FeatureGeometry
    chunk_frames: int
    """Encoder frames one step advances: look-ahead + 1."""

    @property
    def right_frames(self) -> int:
        """Encoder frames a step hears behind its chunk and leaves to the next; 0 here."""
        return 0

    @property
    def latency_ms(self) -> int:
        """The longest a sound waits for its chunk to be complete."""
        return self.chunk_frames * self.features.encoder_frame_ms

    def feature_frames(self, *, is_first: bool) -> int:
        """Feature frames a whole chunk adds."""
        whole = self.chunk_frames * self.features.subsampling
        return whole - self.features.subsampling + 1 if is_first else whole

    def chunk_samples(self, *, is_first: bool) -> int:
        """Samples a whole chunk adds; the first also fills the window of its last frame."""
        frames = self.feature_frames(is_first=is_first)
        if is_first:
            return (frames - 1) * self.features.hop_samples + self.features.half_window_samples
        return frames * self.features.hop_samples


@dataclass(frozen=True, slots=True)
class BufferedContext:
    """The window a step of a buffered model encodes, in encoder frames.

    An offline model hears all of it; the chunk's frames are decoded for good, those of the right
    context only to show what they may become.
    """

    left_frames: int
    chunk_frames: int
    right_frames: int

    @property
    def total_frames(self) -> int:
        """Encoder frames of a whole window."""
        return self.left_frames + self.chunk_frames + self.right_frames


@dataclass(frozen=True, slots=True)
class BufferedGeometry(ChunkGeometry):
    """How a stream of a buffered model is cut: the first chunk brings its right context along.

    Each later one of `chunk_frames` moves the window on; what is left when the utterance ends,
    be it nothing, ends the right context, too.
    """

    context: BufferedContext

    @property
    def right_frames(self) -> int:
        """Encoder frames a step hears behind its chunk and leaves to the next."""
        return self.context.right_frames

    @property
    def latency_ms(self) -> int:
        """The longest a sound waits for its chunk and the right context to be complete."""
        return (self.chunk_frames + self.right_frames) * self.features.encoder_frame_ms

    def feature_frames(self, *, is_first: bool) -> int:
        """Feature frames a whole chunk adds."""
        encoder_frames = self.chunk_frames + (self.right_frames if is_first else 0)
        return encoder_frames * self.features.subsampling

    def chunk_samples(self, *, is_first: bool) -> int:
        """Samples a whole chunk adds."""
        return self.feature_frames(is_first=is_first) * self.features.hop_samples


@dataclass(frozen=True, slots=True)
class BufferedSeconds:
    """The window of a buffered model as people think of it: seconds on either side of a chunk."""

    left_s: float
    chunk_s: float
    right_s: float

    def in_frames(self, features: FeatureGeometry) -> BufferedContext:
        """Return the window in whole encoder frames, each part rounded to the nearest.

        Raises ValueError for a negative part, or a chunk of less than half a frame.
        """

        def frames(seconds: float) -> int:
            return round(seconds * features.sample_rate_hertz / features.encoder_frame_samples)

        context = BufferedContext(frames(self.left_s), frames(self.chunk_s), frames(self.right_s))
        if context.chunk_frames < 1 or min(self.left_s, self.right_s) < 0:
            raise ValueError(
                f"a window of {self.left_s:g} s, {self.chunk_s:g} s and {self.right_s:g} s cannot "
                f"be streamed: a chunk has at least one encoder frame "
                f"({features.encoder_frame_ms} ms), a context at least 0 s"
            )
        return context
