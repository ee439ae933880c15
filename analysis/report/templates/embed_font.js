"use strict";
/* Pictures carry the font that their text was measured with: an SVG opens alike on every machine,
   a PDF made of it embeds the glyphs, and a bitmap is drawn from it. FONT is the address of a font
   file as data. */
(function () {
  const rule = `<style>@font-face{font-family:"${FAMILY}";src:url(${FONT})}</style>`;
  const loaded = new FontFace(FAMILY, `url(${FONT})`).load().then((one) => document.fonts.add(one));
  const prefix = "data:image/svg+xml,";
  const plain = Plotly.toImage;

  function withFont(image) {
    if (image.startsWith(prefix)) {
      const text = decodeURIComponent(image.slice(prefix.length));
      return prefix + encodeURIComponent(withFont(text));
    }
    return image.replace(/<svg[^>]*>/, (start) => start + rule);
  }

  async function bitmap(figure, options) {
    const vector = { ...options, format: "svg", scale: 1, imageDataOnly: false };
    const image = new Image();
    image.src = withFont(await plain(figure, vector));
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = options.width * options.scale;
    canvas.height = options.height * options.scale;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const address = canvas.toDataURL(`image/${options.format}`);
    return options.imageDataOnly ? address.slice(address.indexOf(",") + 1) : address;
  }

  Plotly.toImage = async function (figure, options) {
    await loaded;
    if (options.format !== "svg") return bitmap(figure, options);
    return withFont(await plain(figure, options));
  };
})();
