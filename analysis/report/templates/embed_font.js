"use strict";
/* Pictures carry the font that their text was measured with: an SVG opens alike on every machine,
   and a PDF made of it embeds the glyphs. FONT is the address of a font file as data. */
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

  Plotly.toImage = async function (figure, options) {
    await loaded;
    const image = await plain(figure, options);
    return options.format === "svg" ? withFont(image) : image;
  };
})();
