"""Generator and inference networks: convolutional DRAW over a few latent layers.

Per layer l (Eslami et al. 2018, generation and inference cores; Gregor et al. 2016, ConvDRAW):

    prior_l     = prior(h_g)                        the generator state BEFORE its update
    h_e, c_e    = inference(x_q, v_q, r, h_e, h_g, u)
    posterior_l = posterior(h_e)                    the inference state AFTER its update
    z_l         ~ posterior_l (training) or prior_l (prediction)
    h_g, c_g    = generation(z_l, v_q, r, h_g)
    u           = u + canvas(h_g)

Ours: the canvas u has the resolution of the latent map and is upsampled once at the end. r and v_q
become one learned spatial map (a constant broadcast would tell the cores nothing about space).
What they and x_q add to gates and prior is computed once per sequence and core: the same sums as
concatenating them at every layer. Every prior, the first included, sees r and v_q.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from .condition import CONDITIONS
from .latents import Gaussian, LatentStep, Noise, Rollout
from .pixels import Pixels, parameters_per_pixel
from .rays import FIELD_OF_VIEW, SCENE_CENTRE, SCENE_RADIUS
from .upsampling import UPSAMPLERS, initialise


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of the generator; `GQNConfig` adds those of the representation network."""

    image_size: int = 64
    """Height and width of images, pixels."""
    layers: int = 4
    """Latent layers L, 1 to 12 (the paper: 12)."""
    shared_core: bool = True
    """One core for all layers, or one each (the paper)."""
    hidden_channels: int = 64
    """Channels of each LSTM state h and c (the paper: 128)."""
    latent_channels: int = 3
    """Channels of each latent z_l (the paper: 3)."""
    canvas_channels: int = 64
    """Channels of the canvas u (the paper: 128, at full resolution)."""
    condition_channels: int = 64
    """Channels of the spatial map that carries r and the query viewpoint to the cores."""
    latent_map: int = 8
    """Height and width of states, latents and canvas (the paper: 16)."""
    pixel_components: int = 1
    """Gaussians a pixel's distribution is a mixture of (the paper: 1)."""
    core_kernel: int = 3
    """Kernel of the convolutions in the cores, odd (the paper: 5)."""
    conditioning: str = "rays"
    """How r and the query viewpoint reach the cores: `points`, `rays` (ours) or `broadcast` (the paper)."""
    picture: str = "convolutional"
    """From the canvas to the image: `convolutional` (ours) or `linear`, which spans the same functions as the
    paper's full-resolution canvas with its 1x1 output (see `upsampling`)."""
    field_of_view: float = FIELD_OF_VIEW
    """Radians: opening angle of the square images, which says where each pixel's ray goes."""
    scene_centre: tuple[float, float, float] = SCENE_CENTRE
    """Metres: the middle of what changes from scene to scene; `points` start around it."""
    scene_radius: float = SCENE_RADIUS
    """Metres from the centre to where `points` start at most, along each axis."""

    def __post_init__(self) -> None:
        for name in ("hidden", "latent", "canvas", "condition"):
            _require_positive(f"{name}_channels", getattr(self, f"{name}_channels"))
        _require_positive("latent_map", self.latent_map)
        if self.scene_radius <= 0:
            raise ValueError(f"scene_radius must be positive (metres), got {self.scene_radius}.")
        _require_positive("pixel_components", self.pixel_components)
        for name, known in (("conditioning", CONDITIONS), ("picture", UPSAMPLERS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(known)}.")
        if not 1 <= self.layers <= 12:
            raise ValueError(f"layers must be 1 to 12, got {self.layers}.")
        if self.core_kernel < 1 or self.core_kernel % 2 == 0:
            raise ValueError(f"core_kernel must be odd (1, 3, 5, ...), got {self.core_kernel}.")
        scale, rest = divmod(self.image_size, self.latent_map)
        if rest or scale < 1 or scale & (scale - 1):
            raise ValueError(
                f"image_size {self.image_size} must be latent_map {self.latent_map} times a power "
                f"of two; choose image_size {8 * self.latent_map} or another latent_map."
            )

    @property
    def scale(self) -> int:
        """Pixels along each edge of a cell of the latent map."""
        return self.image_size // self.latent_map


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}.")


def _lstm_update(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """LSTM equations: gates (B, 4h, s, s), cell (B, h, s, s) -> new hidden and cell state."""
    sigmoids, candidate = gates.split([3 * cell.shape[1], cell.shape[1]], dim=1)
    forget, enter, leave = torch.sigmoid(sigmoids).chunk(3, dim=1)
    cell = forget * cell + enter * torch.tanh(candidate)
    return leave * torch.tanh(cell), cell


class State(NamedTuple):
    """Recurrent state, all (B, channels, s, s): generation and inference LSTMs, and canvas."""

    h_g: Tensor
    c_g: Tensor
    h_e: Tensor
    c_e: Tensor
    u: Tensor


class Static(NamedTuple):
    """What does not change over the layers of one core, biases included."""

    generation: Tensor
    """Gates and prior, (B, 4h + 2z, s, s)."""
    inference: Tensor | None
    """Gates, (B, 4h, s, s); None without a query image."""


class Core(nn.Module):
    """The convolutions of one DRAW layer. Those of one input are one convolution."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        h, z, u = config.hidden_channels, config.latent_channels, config.canvas_channels
        c = config.condition_channels

        def conv(inputs: int, outputs: int, bias: bool = False) -> nn.Conv2d:
            kernel = config.core_kernel
            return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)

        self.static_generation = conv(c, 4 * h + 2 * z, bias=True)
        self.static_inference = conv(c + h, 4 * h, bias=True)
        self.generation = conv(h, 4 * h + 2 * z)
        self.latent = conv(z, 4 * h)
        self.inference = conv(2 * h + u, 4 * h)
        self.posterior = conv(h, 2 * z, bias=True)
        self.canvas = nn.Conv2d(h, u, 1)
        self.split = [4 * h, 2 * z]

    def static(self, condition: Tensor, query: Tensor | None) -> Static:
        """condition (B, c, s, s), encoded query image (B, h, s, s) or None -> Static."""
        generation = self.static_generation(condition)
        if query is None:
            return Static(generation, None)
        return Static(generation, self.static_inference(torch.cat([condition, query], dim=1)))

    def forward(
        self, state: State, static: Static, noise: Tensor | None, first: bool
    ) -> tuple[State, LatentStep]:
        """One layer. z comes from the posterior where there is one, else from the prior.

        noise: (B, z, s, s), or None: z is then the mean.
        first: the state is zero, so its convolutions are left out (an unshared first core has
        them all the same).
        """
        h_g, c_g, h_e, c_e, u = state
        raw = static.generation if first else static.generation + self.generation(h_g)
        gates, parameters = raw.split(self.split, dim=1)
        prior, posterior = Gaussian.from_parameters(parameters), None
        if static.inference is not None:
            e_gates = static.inference
            if not first:
                e_gates = e_gates + self.inference(torch.cat([h_e, h_g, u], dim=1))
            h_e, c_e = _lstm_update(e_gates, c_e)
            posterior = Gaussian.from_parameters(self.posterior(h_e))
        z = (posterior or prior).sample(noise)
        h_g, c_g = _lstm_update(gates + self.latent(z), c_g)
        return State(h_g, c_g, h_e, c_e, u + self.canvas(h_g)), LatentStep(prior, posterior, z)


class Generator(nn.Module):
    """Image distribution p(x | r, v_q) as a latent-variable model, and its posterior."""

    def __init__(self, config: GeneratorConfig, code_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.config, self.code_shape = config, code_shape
        self.condition = CONDITIONS[config.conditioning](code_shape, config)
        patches = nn.Conv2d(3, config.hidden_channels, config.scale, config.scale)
        self.query_encoder = nn.Sequential(patches, nn.SiLU())
        cores = 1 if config.shared_core else config.layers
        self.cores = nn.ModuleList(Core(config) for _ in range(cores))
        outputs = parameters_per_pixel(config.pixel_components)
        build = UPSAMPLERS[config.picture]
        self.decoder = build(config.canvas_channels, config.scale, outputs, self.condition.finer)
        self._initialise()

    def _initialise(self) -> None:
        """As `initialise`; r quiet; mid-grey mean."""
        initialise(self)
        self.condition.quieten_code()
        *_, (_, output_bias) = self.decoder.named_parameters()
        nn.init.constant_(output_bias, 0.5)
        if self.config.pixel_components > 1:  # components must differ to part ways
            nn.init.uniform_(output_bias)

    def forward(
        self,
        r: Tensor,
        query_viewpoint: Tensor,
        query_image: Tensor | None = None,
        generator: torch.Generator | Noise | None = None,
    ) -> Rollout:
        """Roll the layers out: training, reconstruction or prediction.

        r (B, C) or (B, C, h, w): raw sum over views; query_viewpoint (B, 7); query_image
        (B, 3, H, W) in [0, 1]: latents come from the posterior, without it from the prior.
        generator: latents are sampled with it; without one each takes its mean.
        """
        noise = self._draw(Noise.of(generator), r)
        parameters, steps = self.roll_out(r, query_viewpoint, query_image, noise)
        return Rollout(Pixels.from_parameters(parameters, self.config.pixel_components), steps)

    def roll_out(
        self, r: Tensor, query_viewpoint: Tensor, query_image: Tensor | None, noise: Tensor | None
    ) -> tuple[Tensor, tuple[LatentStep, ...]]:
        """`forward` on noise (L, B, z, s, s) that is drawn already: parameters of pixels, and the layers."""
        condition, finer = self.condition(r, query_viewpoint)
        query = None if query_image is None else self.query_encoder(query_image)
        cores = cast("list[Core]", list(self.cores))
        statics = [core.static(condition, query) for core in cores]
        state, steps = self._initial_state(condition), []
        for layer in range(self.config.layers):
            which = layer % len(cores)
            of_layer = None if noise is None else noise[layer]
            state, step = cores[which](state, statics[which], of_layer, layer == 0)
            steps.append(step)
        return self.decoder(state.u, finer), tuple(steps)

    def _draw(self, noise: Noise | None, r: Tensor) -> Tensor | None:
        """(L, B, z, s, s), or None where latents take their means."""
        size, channels = self.config.latent_map, self.config.latent_channels
        shape = (len(r), channels, size, size)
        return (
            None
            if noise is None
            else torch.stack([noise.of_shape(shape) for _ in range(self.config.layers)]).to(r.device)
        )

    def _initial_state(self, like: Tensor) -> State:
        """Zeros, with the batch size, device and type of `like`, channels last in memory."""
        size, config = self.config.latent_map, self.config

        def zeros(channels: int) -> Tensor:
            return like.new_zeros(len(like), size, size, channels).permute(0, 3, 1, 2)

        h = config.hidden_channels
        return State(zeros(h), zeros(h), zeros(h), zeros(h), zeros(config.canvas_channels))
