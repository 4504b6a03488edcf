"""Words for 0 to 9 in 42 languages, in the letters a to z: cardinals, ordinals, genders and cases.

They are those of Unicode CLDR 48.2, as its rules spell out numbers (https://cldr.unicode.org,
Unicode License v3): at most five forms of each in a language, so 901 spellings. None of them is of
two numbers. Accents are left out (fünf: funf), and letters that have none without are written with
the nearest (ł: l, ø: o, þ: th). What is in Greek or Cyrillic is romanised (четыре: chetyre).
"""

# A language, then its forms of each number; related languages follow each other.
TABLE = """
en: zero/zeroth one/first two/second three/third four/fourth five/fifth six/sixth seven/seventh
eight/eighth nine/ninth
de: null/nullte/nullten/nulltes/nulltem eins/einen/einem/ersten/erstem
zwei/zweite/zweiten/zweites/zweitem drei/dritte/dritten/drittes/drittem
vier/vierte/vierten/viertes/viertem funf/funfte/funften/funftes/funftem
sechs/sechste/sechsten/sechstes/sechstem sieben/siebte/siebten/siebtes/siebtem
acht/achte/achten/achtes/achtem neun/neunte/neunten/neuntes/neuntem
nl: nul/nulste een/eerste twee/tweede drie/derde vier/vierde vijf/vijfde zes/zesde zeven/zevende
acht/achtste negen/negende
af: nul/nulste een/eerste twee/tweede drie/derde vier/vierde vyf/vyfde ses/sesde sewe/sewede
agt/agtde nege/negede
lb: null/nullten/nullter/nullt een/eent/eng/eischter/eischt zwee/zwou/zweeten/zweeter/zweet
drai/dretten/dretter/drett veier/veierten/veierter/veiert fennef/fenneften/fennefter/fenneft
sechs/sechsten/sechster/sechst siwen/siwenten/siwenter/siwent aacht/aachten/aachter
neng/nengten/nengter/nengt
da: nul/nulte et/en/forste to/anden/andet tre/tredje fire/fjerde fem/femte seks/sjette syv/syvende
otte/ottende ni/niende
nn: null ein/eitt to tre fire fem seks sju atte ni
sv: noll/nollte ett/en/forsta/forste tva/andra/andre tre/tredje fyra/fjarde fem/femte sex/sjatte
sju/sjunde atta/attonde nio/nionde
is: null einn/eitt/ein tveir/tvo/tvaer thrir/thrju/thrjar fjorir/fjogur/fjorar fimm sex sjo atta
niu
fo: null ein/eitt tveir/tvey/tvaer triggir/try/triggjar fyre fimm seks sjey atta niggju
fr: zero/zeroiemes/zeroieme un/une/premiers/premieres/premiere deux/deuxiemes/deuxieme
trois/troisiemes/troisieme quatre/quatriemes/quatrieme cinq/cinquiemes/cinquieme
six/sixiemes/sixieme sept/septiemes/septieme huit/huitiemes/huitieme neuf/neuviemes/neuvieme
es: cero uno/una/primeros/primero/primera dos/segundo/segundos/segundas/segunda
tres/tercer/terceros/terceras/tercera cuatro/cuarto/cuartos/cuartas/cuarta
cinco/quinto/quintos/quintas/quinta seis/sexto/sextos/sextas/sexta
siete/septimo/septimos/septimas/septima ocho/octavo/octavos/octavas/octava
nueve/noveno/novenos/novenas/novena
pt: zero um/uma/primeiro/primeira dois/duas/segundo/segunda tres/terceiro/terceira
quatro/quarto/quarta cinco/quinto/quinta seis/sexto/sexta sete/setimo/setima oito/oitavo/oitava
nove/nono/nona
it: zero/zeresimo/zeresima/zeresimi/zeresime uno/una/primo/prima/prime
due/secondo/seconda/secondi/seconde tre/terzo/terza/terzi/terze
quattro/quarto/quarta/quarti/quarte cinque/quinto/quinta/quinti/quinte sei/sesto/sesta/sesti/seste
sette/settimo/settima/settimi/settime otto/ottavo/ottava/ottavi/ottave nove/nono/nona/noni/none
ca: zero/zeroe/zerona/zeroes/zeroenes u/una/primer/primera/primeres dos/dues/segon/segons/segones
tres/tercer/tercera/tercers/terceres quatre/quart/quarta/quarts/quartes
cinc/cinque/cinquena/cinques/cinquenes sis/sise/sisena/sises/sisenes set/sete/setena/setes/setenes
vuit/vuite/vuitena/vuites/vuitenes nou/nove/novena/noves/novenes
ro: zero unu/una doi/doua trei patru cinci sase sapte opt noua
vec: zero/zerezemo/zerezema uno/un/una/primo/prima do/du/segondo/segonda tre/tri/terso/tersa
cuatro/cuarto/cuarta sincue/cuinto/cuinta sie/sesto/sesta sete/setemo/setema oto/otavo/otava
nove/nono/nona
pl: zerowego/zerem/zerowa/zerowej/zerowymi pierwszego/jednego/pierwszy/pierwszej/pierwszymi
drugiego/dwoch/drugi/drugiej/drugimi trzeciego/trzech/trzeci/trzecich/trzecimi
czwartego/czterem/czwarta/czwartej/czwartymi piatego/piecioma/piate/piatych/piatymi
szostego/szescioma/szoste/szostych/szostymi siodmego/siedmioma/siodme/siodmych/siodmymi
osmego/osmioma/osme/osmych/osmymi dziewiatego/dziewiecioma/dziewiate/dziewiatych/dziewiatymi
cs: nula jeden/jedno/jedna dva/dve tri ctyri pet sest sedm osm devet
sk: nula jeden/jedno/jedna dva/dve tri styri pat sest sedem osem devat
sl: nic ena dva/dve tri stiri pet sest sedem osem devet
hr: nula jedan/jedno/jedna/prvo/prva dva/dvije/drugi/drugo/druga tri/treci/trece/treca
cetiri/cetvrti/cetvrto/cetvrta pet/peti/peto/peta sest/sesti/sesto/sesta sedam/sedmi/sedmo/sedma
osam/osmi/osmo/osma devet/deveti/deveto/deveta
mk: nula eden/edno/edna dva/dve tri chetiri pet shest sedum osum devet
bg: nula edno/edin/edna/parva/parvo dve/dva/dvama/vtora/vtoro tri/trima/treti/treta/treto
chetiri/chetirima/chetvarti/chetvarta/chetvarto pet/petima/peti/peta/peto
shest/shestima/shesti/shesta/shesto sedem/sedmi/sedma/sedmo osem/osmi/osma/osmo
devet/deveti/deveta/deveto
ru: nulevogo/nule/nulevoe/nulevomu/nulevymi pervogo/odnoi/odnimi/pervoi/pervymi
vtorogo/dvum/vtoraya/vtoromu/vtorymi tretego/tremya/treti/tretomu/tretimi
chetvertogo/chetyrmya/chetvertye/chetvertomu/chetvertymi pyatogo/pyatyi/pyatye/pyatomu/pyatymi
shestogo/shestyu/shestaya/shestym/shestymi sedmogo/semyu/sedmaya/sedmym/sedmymi
vosmogo/vosemyu/vosmaya/vosmym/vosmymi devyatogo/devyatyi/devyatye/devyatomu/devyatymi
uk: nul odin/odne/odna dva/dvi tri chotiri pyat shist sim visim devyat
be: nul/nulyavy/nulyavaya/nulyavoe adzin/adno/adna/pershaya/pershae dva/dzve/drugi/drugaya/drugoe
try/treitsi/tretstsyaya/tretstsyae chatyry/chatsverty/chatsvertaya/chatsvertae
pyats/pyaty/pyataya/pyatae shests/shosty/shostaya/shostae sem/syomy/syomaya/syomae
vosem/vosmy/vosmaya/vosmae dzevyats/dzyavyaty/dzyavyataya/dzyavyatae
lt: nulinisu/nulinisi/nulinisai/nulinisomis/nulinisose pirmu/vienai/pirmi/pirmus/pirmose
antru/dviejose/antro/antrus/antrose treciu/trijuose/trecio/trecius/treciose
ketvirtu/keturias/ketvirti/ketvirtoms/ketvirtose penktu/penkias/penkti/penktoms/penktose
sestu/sesias/sesti/sestoms/sestose septintu/septynias/septinti/septintoms/septintose
astuntu/astuonias/astunti/astuntoms/astuntose devintu/devynias/devinti/devintoms/devintose
lv: nulle viens/viena divi/divas tris cetri/cetras pieci/piecas sesi/sesas septini/septinas
astoni/astonas devini/devinas
ga: naid haon do tri ceathair cuig se seacht hocht naoi
cy: dim un dau/dwy tri/tair pedwar/pedair pump/pum chwech/chwe saith wyth naw
sq: zero nje dy tre/tri kater pese gjashte shtate tete nente
el: miden/midenikos/mideniki/mideniko ena/enas/mia/proti/proto dio/deiteros/deiteri/deitero
tria/treis/tritos/triti/trito tessera/tesseris/tetartos/tetarti/tetarto
pente/pemptos/pempti/pempto exi/ektos/ekti/ekto epta/evdomos/evdomi/evdomo okto/ogdoos/ogdoi/ogdo
ennea/enatos/enati/enato
eo: nulo/nuloa unu/unua du/dua tri/tria kvar/kvara kvin/kvina ses/sesa sep/sepa ok/oka nau/naua
fi: nolla/nollat/nollas/nollannelle/nollannille yksi/yhdet/ensimmainen/ensimmaiselle/ensimmaisille
kaksi/kahdet/toinen/toiselle/toisille kolme/kolmet/kolmas/kolmannelle/kolmannille
nelja/neljat/neljas/neljannelle/neljannille viisi/viidet/viides/viidennelle/viidennille
kuusi/kuudet/kuudes/kuudennelle/kuudennille
seitseman/seitsemat/seitsemas/seitsemannet/seitsemannille
kahdeksan/kahdeksat/kahdeksas/kahdeksannet/kahdeksannille
yhdeksan/yhdeksat/yhdeksas/yhdeksannet/yhdeksannille
et: null uks kaks kolm neli viis kuus seitse kaheksa uheksa
se: nolla okta guokte golbma njeallje vihtta guhtta cieza gavcci ovcci
tr: sifir/sifirinci bir/birinci iki/ikinci uc/ucuncu dort/dorduncu bes/besinci alti/altinci
yedi/yedinci sekiz/sekizinci dokuz/dokuzuncu
az: sifir/sifirinci bir/birinci iki/ikinci uc/ucuncu dord/dorduncu bes/besinci alti/altinci
yeddi/yeddinci sekkiz/sekkizinci doqquz/doqquzuncu
id: nol/kenol satu/pertama dua/kedua tiga/ketiga empat/keempat lima/kelima enam/keenam
tujuh/ketujuh delapan/kedelapan sembilan/kesembilan
ms: kosong/kekosong satu/pertama dua/kedua tiga/ketiga empat/keempat lima/kelima enam/keenam
tujuh/ketujuh lapan/kelapan sembilan/kesembilan
su: nol/kanol hiji/kahiji dua/kadua tilu/katilu opat/kaopat lima/kalima genep/kagenep
tujuh/katujuh dalapan/kadalapan salapan/kasalapan
"""


def forms() -> dict[str, tuple[tuple[str, ...], ...]]:
    """By language the forms of each of the ten numbers."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for entry in TABLE.split():
        if entry.endswith(":"):
            numbers = found.setdefault(entry[:-1], [])
        else:
            numbers.append(tuple(entry.split("/")))
    return {language: tuple(numbers) for language, numbers in found.items()}
