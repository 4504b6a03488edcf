"""The recurrent text encoder under the name of its default cell."""

from mmjax.encoders.text.recurrent import TextRecurrent

TextLstm = TextRecurrent
