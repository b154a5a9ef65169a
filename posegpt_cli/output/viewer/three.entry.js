// What viewer.js uses of three.js. Bundled into three.min.js by hand, with three 0.187.0 and esbuild 0.28.2 from npm:
// esbuild three.entry.js --bundle --minify --format=iife --global-name=THREE --legal-comments=inline --outfile=three.min.js
export {
  AnimationMixer, CanvasTexture, CircleGeometry, Color, DirectionalLight, Fog, HemisphereLight, Mesh,
  MeshLambertMaterial, PerspectiveCamera, RepeatWrapping, Scene, SRGBColorSpace, Vector3, WebGLRenderer,
} from 'three';
export { OrbitControls } from 'three/addons/controls/OrbitControls.js';
export { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';
